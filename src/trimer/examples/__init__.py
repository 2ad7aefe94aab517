"""Example records that travel with Trimer, one small file for each kind of input; `data/README.md` has the licences."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "data"
# Kind of input (`Study.example`) -> file. `python -m trimer.examples.draw` draws them again.
FILES = {
    "spectra": "spectra.mgf",  # with the true molecules
    "molecules": "molecules.csv",
    "proteins": "proteins.fasta",
    "peptides": "peptides.csv",
    "precursors": "precursors.csv",  # peptides with charges
}
LOOKUPS = "lookups.json"  # candidates of the look-up baselines for the spectra


def example(kind: str) -> Path:
    """The example file of a kind of input."""
    return FOLDER / FILES[kind]
