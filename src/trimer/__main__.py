"""`python -m trimer` is the command `trimer`."""

import sys

from trimer.cli import main

sys.exit(main())
