"""Draws the example records from the public data, by seed and never by a result: `python -m trimer.examples.draw`.

It reads the folder `TRIMER_DATA` and writes `src/trimer/examples/data`. All are test data of the model of
their kind; 9 of the peptides have the letters of training peptides of peptide-rt or of peptide-charge:
- spectra: one spectrum of each of 100 molecules of the test fold of MassBank, with the candidates of the look-up
  baselines, which search the whole training fold;
- molecules: 100 of the test split of the study foodb/superclass; proteins: 40 of the test file of DeepLoc 1.0, of at
  most 1,000 residues; peptides: 200 of the test file of ProteomeTools; precursors: 100 of the test file of DeepPhospho
  whose letters are in no training peptide.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimer.examples import FILES, FOLDER, LOOKUPS

SEED = 0
SPECTRA, MOLECULES, PROTEINS, PEPTIDES, PRECURSORS = 100, 100, 40, 200, 100
LONGEST = 1000  # residues of a protein
CANDIDATES = 10  # molecules of each look-up
MASSBANK = "spectra/massbank_pos"


def main() -> None:
    """Draw all examples. The first argument is another folder for the output."""
    from trimer.pretrained.packed import paths_here

    output = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    output.mkdir(parents=True, exist_ok=True)
    data = Path(paths_here()["data"]).expanduser()
    names = draw_spectra(data, output)
    write_lookups(names, output / LOOKUPS)
    draw_molecules(output)
    draw_proteins(data, output)
    draw_peptides(data, output)
    draw_precursors(data, output)


def drawn(count: int, values: Sequence[Any]) -> list[Any]:
    """A seeded sample of some values, in their order."""
    rows = np.random.default_rng(SEED).permutation(len(values))[:count]
    return [values[row] for row in sorted(rows)]


def draw_spectra(data: Path, output: Path) -> list[str]:
    """Write the spectra as they are in the library, with their attribution; returns their titles."""
    blocks = (data / f"{MASSBANK}.mgf").read_text(encoding="utf-8").split("END IONS\n")
    of_molecule: dict[str, list[str]] = {}
    for block in blocks:
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if fields.get("FOLD") == "test":
            of_molecule.setdefault(fields["INCHIKEY"][:14], []).append(block.lstrip("\n") + "END IONS\n")
    random = np.random.default_rng(SEED)
    chosen = [spectra[random.integers(len(spectra))] for spectra in of_molecule.values()]
    chosen = drawn(SPECTRA, chosen)
    titles = [block.partition("TITLE=")[2].partition("\n")[0] for block in chosen]
    (output / FILES["spectra"]).write_text("\n".join(chosen), encoding="utf-8")
    with gzip.open(data / f"{MASSBANK}.ATTRIBUTION.tsv.gz", "rt", encoding="utf-8") as stream:
        head, *lines = stream.read().splitlines()
    kept = [line for line in lines if line.partition("\t")[0] in set(titles)]
    (output / "spectra.ATTRIBUTION.tsv").write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    return titles


def write_lookups(titles: Sequence[str], path: Path) -> None:
    """Write the candidates of each baseline for the spectra; the baselines search the whole training fold."""
    from trimer.baselines.spectrum_baselines import BASELINES
    from trimer.building import build
    from trimer.cli.configs import compose

    module = build(compose("train", ["experiment=spectrums/finetune"]).data)
    module.setup()
    rows = module.split.rows("test")
    row_of = dict(zip(module.store.strings("id", rows), rows, strict=True))
    table = module.table(np.array([row_of[title] for title in titles]))
    train = module.table(module.split.rows("train"))
    lookups = {name: rank(train, table, k=CANDIDATES, seed=SEED) for name, rank in BASELINES.items()}
    content = {
        "command": "python -m trimer.examples.draw",
        "searched": f"the {len(train):,} training spectra of experiment=spectrums/finetune",
        "ids": list(titles),
        "candidates": lookups,
    }
    path.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


def draw_molecules(output: Path) -> None:
    """Write molecules of the test split of foodb/superclass, with their superclass."""
    from trimer.building import build
    from trimer.cli.configs import compose

    cfg = compose("train", ["experiment=foodb/superclass"])
    module = build(cfg.data)
    module.setup()
    ids = set(module.store.strings("id", module.split.rows("test")))
    with Path(cfg.data.source.paths).open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["cas"] in ids]
    write_table(output / FILES["molecules"], ("name", "smiles", "superclass"), drawn(MOLECULES, rows))


def draw_proteins(data: Path, output: Path) -> None:
    """Write proteins of the test file of DeepLoc, with their headers."""
    text = (data / "proteins/deeploc1_eval_1678.fasta").read_text(encoding="utf-8")
    records = [f">{record.rstrip()}\n" for record in text.split(">") if record.strip()]
    short = [record for record in records if len(record.partition("\n")[2]) <= LONGEST]
    (output / FILES["proteins"]).write_text("".join(drawn(PROTEINS, short)), encoding="utf-8")


def draw_peptides(data: Path, output: Path) -> None:
    """Write peptides of the test file of ProteomeTools, with their indexed retention times."""
    with (data / "peptides/proteomTools_test.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [{"sequence": row["sequence"], "irt": f"{float(row['irt']):.2f}"} for row in drawn(PEPTIDES, rows)]
    write_table(output / FILES["peptides"], ("sequence", "irt"), chosen)


def draw_precursors(data: Path, output: Path) -> None:
    """Write precursors of the test file of DeepPhospho whose letters are in no training peptide, as ProForma."""
    from trimer.peptides.notations import canonical

    folder = data / "peptides/ms2_deepphospho"
    of_file = {}
    for name in ("train", "test"):
        with gzip.open(folder / f"rpe1_dia_{name}.json.gz", "rt", encoding="utf-8") as stream:
            keys = [text.rpartition(".") for text in json.load(stream)]
        of_file[name] = [(canonical("deepphospho", "Carbamidomethyl@C", text)[0], charge) for text, _, charge in keys]
    known = {letters(peptide) for peptide, _ in of_file["train"]}
    new = [{"sequence": p, "charge": charge} for p, charge in of_file["test"] if letters(p) not in known]
    write_table(output / FILES["precursors"], ("sequence", "charge"), drawn(PRECURSORS, new))


def letters(peptide: str) -> str:
    """The residues of a ProForma peptide, without modifications."""
    inside, kept = 0, []
    for sign in peptide:
        inside += (sign == "[") - (sign == "]")
        if not inside and sign.isalpha():
            kept.append(sign)
    return "".join(kept)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write some columns of rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
