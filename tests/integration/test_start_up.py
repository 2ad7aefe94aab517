"""What is imported at start-up: packages that take seconds are imported where they are used."""

from __future__ import annotations

import subprocess
import sys

SLOW = ["matchms", "Bio", "pandas", "polars", "psm_utils"]
CODES = [
    "import trimer",
    "from trimer.cli.main import main; main(['--help'])",
    "from trimer.data.spectra.readers import read_spectra",
    "from trimer.data.proteins.protein_files import ProteinFiles",
    "import trimer.objects, trimer.results, trimer.baselines.matchms_lookup",
]


def test_slow_packages_are_not_imported():
    """One process runs all codes, one after the other, and prints after each which slow packages are imported."""
    printed = f"; import sys; print([name for name in {SLOW} if name in sys.modules], file=sys.stderr)"
    code = "\n".join(code + printed for code in CODES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert dict(zip(CODES, imported, strict=True)) == dict.fromkeys(CODES, "[]")
