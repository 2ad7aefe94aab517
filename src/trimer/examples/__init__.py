"""Example records that travel with Trimer, one small file for each kind of input; `data/README.md` has the licences."""

from __future__ import annotations

from pathlib import Path

from trimer.errors import InputError

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
KNOWN = "known_proteins.fasta"  # the proteins that a published study of ESM-2 tests its endpoint with


def example(kind: str) -> Path:
    """The example file of a kind of input; InputError if none is shipped, as for a study of a plug-in."""
    if kind not in FILES:
        raise InputError(
            f"Trimer has no example {kind}, only {', '.join(FILES)}: name a file with input=<file>; trimer serve needs "
            "a model of these records"
        )
    return FOLDER / FILES[kind]


def known_proteins() -> list[dict[str, str]]:
    """Six human proteins: `id` (UniProt accession), `name`, `label` (M: membrane-bound, S: soluble) and `sequence`."""
    proteins = []
    for record in (FOLDER / KNOWN).read_text(encoding="utf-8").split(">")[1:]:
        header, _, sequence = record.partition("\n")
        accession, label, name = header.split(" ", 2)
        proteins.append({"id": accession, "name": name, "label": label, "sequence": "".join(sequence.split())})
    return proteins
