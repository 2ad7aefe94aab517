"""What is imported at start-up: packages that take seconds are imported where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ["matchms", "Bio", "pandas", "polars", "psm_utils"]


@pytest.mark.parametrize(
    "code",
    [
        "import trimer",
        "from trimer.cli.main import main; main(['--help'])",
        "from trimer.data.spectra.readers import read_spectra",
        "from trimer.data.proteins.protein_files import ProteinFiles",
        "import trimer.objects, trimer.results, trimer.baselines.matchms_lookup",
    ],
)
def test_slow_packages_are_not_imported(code):
    code += f"; import sys; print([name for name in {SLOW} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
