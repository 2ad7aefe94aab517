"""`python -m trimer` is the command `trimer`."""

import sys

from trimer.cli.main import main

sys.exit(main())
