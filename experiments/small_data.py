"""Small generated data in the layout of the real data sets, for the small versions of the studies and for tests.

    python experiments/small_data.py <folder>

Molecules, spectra, proteins and peptides are simulated, and most labels follow from a row's number: nothing can be
learned from them about chemistry or biology.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.peptides.proforma import read_proforma
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_peptides import SimulatedFragments, SimulatedPeptides
from trimer.simulate.simulated_spectra import simulate_table

MARKS = {("M", "UNIMOD:35"): "1", ("S", "UNIMOD:21"): "2", ("T", "UNIMOD:21"): "3", ("Y", "UNIMOD:21"): "4"}
ASSAYS = "NR-AR NR-AR-LBD NR-AhR NR-Aromatase NR-ER NR-ER-LBD NR-PPAR-gamma SR-ARE SR-ATAD5 SR-HSE SR-MMP SR-p53"
SIXTY = 60  # molecules and proteins


def write_small_data(folder: Path) -> Path:
    """Write all data sets that the studies read; the same files each time. Returns the folder."""
    spectra(folder / "spectra", simulate_table(simulated_molecules(SIXTY, seed=3), seed=3))
    molecules(folder / "molecules")
    proteins(folder / "proteins", sequences())
    peptides(folder / "peptides")
    return folder


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def write_gzip(path: Path, text: str) -> None:
    """Write a compressed text file, the same bytes each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def fold_of(row: int) -> str:
    """The fold of a simulated spectrum."""
    return "train" if row < 40 else "val" if row < 50 else "test"


def spectra(folder: Path, table: SpectrumTable) -> None:
    """The same spectra as the positive and the negative library."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = []
    for row in range(len(table)):
        mz, intensity = table.peaks(row)
        keys = {
            "TITLE": table["id"][row],
            "PEPMASS": table["precursor_mz"][row],
            "MSLEVEL": 2,
            "ADDUCT": table["adduct"][row],
            "SMILES": table["smiles"][row],
            "COLLISION_ENERGY": table["collision_energy"][row],
            "FOLD": fold_of(row),
        }
        lines = [f"{key}={value}" for key, value in keys.items()]
        lines += [f"{m:.5f} {i:.2f}" for m, i in zip(mz, intensity, strict=True)]
        blocks.append("\n".join(["BEGIN IONS", *lines, "END IONS"]))
    for name in ("massbank_pos", "massbank_neg"):
        (folder / f"{name}.mgf").write_text("\n\n".join(blocks) + "\n")


def molecules(folder: Path) -> None:
    """A corpus, and tables of labels in the layouts of superclass.csv and MoleculeNet."""
    write_gzip(folder / "corpus_263k.smi.gz", "\n".join(simulated_molecules(2 * SIXTY, seed=3)) + "\n")
    known = list(enumerate(simulated_molecules(SIXTY, seed=3)))
    kinds = [f"kind {number % 7}, of seven" for number, _ in known]
    write_csv(
        folder / "superclass.csv",
        ["smiles", "inchikey", "superclass", "name", "cas"],
        [[s, "", kinds[n], f"m{n}", f"{n}-00-0"] for n, s in known],
    )
    net = folder / "moleculenet"
    write_csv(
        net / "bace.csv", ["smiles", "CID", "Class", "Model", "pIC50"], [[s, n, n % 2, "Train", 7] for n, s in known]
    )
    write_csv(net / "clintox.csv", ["smiles", "FDA_APPROVED", "CT_TOX"], [[s, n % 2, n % 3 // 2] for n, s in known])
    seen = [["" if (n + k) % 6 == 0 else (n + k) % 2 for k in range(12)] for n, _ in known]
    write_csv(net / "tox21.csv", [*ASSAYS.split(), "mol_id", "smiles"], [[*seen[n], f"TOX{n}", s] for n, s in known])
    solubility = "measured log solubility in mols per litre"
    write_csv(net / "esol.csv", ["Compound ID", solubility, "smiles"], [[f"m{n}", -n / 10, f"{s} "] for n, s in known])
    write_csv(net / "Lipophilicity.csv", ["CMPD_CHEMBLID", "exp", "smiles"], [[f"C{n}", n / 10, s] for n, s in known])


def sequences() -> list[str]:
    """Random proteins of 5 to 89 residues."""
    random = np.random.default_rng(0)
    return ["".join(random.choice(list("LAGVSERTIDPKQNFYMHWC"), random.integers(5, 90))) for _ in range(SIXTY)]


def fasta(texts: Sequence[str]) -> str:
    """The sequences as a FASTA file of UniRef90."""
    return "".join(f">UniRef90_{n} a protein\n{text}\n" for n, text in enumerate(texts))


def clusters(texts: Sequence[str]) -> str:
    """The table of clusters, two sequences in each."""
    return "id\tcluster\n" + "".join(f"UniRef90_{n}\t{n // 2}\n" for n in range(len(texts)))


def proteins(folder: Path, texts: Sequence[str]) -> None:
    """A sample of UniRef90 with its clusters, and both files of DeepLoc 1.0."""
    write_gzip(folder / "uniref90_10k.fasta.gz", fasta(texts))
    write_gzip(folder / "uniref90_10k.clusters.tsv.gz", clusters(texts))
    labels = [f"{('Nucleus', 'Plastid')[n % 2]}-{'MSU'[n // 2 % 3]}" for n in range(len(texts))]
    records = [f">P{n} {labels[n]}\n{text}\n" for n, text in enumerate(texts)]
    (folder / "deeploc1_train_2768.fasta").write_text("".join(records[:45]))
    (folder / "deeploc1_eval_1678.fasta").write_text("".join(records[45:]).replace("\n", " test\n", 1))


def peptides(folder: Path) -> None:
    """Tables in the layouts of ProteomeTools and DeepLC, annotated spectra in the layout of DeepPhospho."""
    times = next(iter(SimulatedPeptides(240, "retention", seed=4, modified=0).chunks()))
    rows = list(zip(times.texts, times.labels["retention"], strict=True))
    for number, split in enumerate(("train", "val", "test")):
        write_csv(folder / f"proteomTools_{split}.csv", ["sequence", "irt"], rows[number:120:3])
    for number, name in enumerate(("unmod", "dia", "Xbridge")):
        peptides = [
            [text, "0|Acetyl" if row % 5 == 0 else "", time] for row, (text, time) in enumerate(rows[120 + number :: 3])
        ]
        write_csv(folder / f"rt_deeplc/{name}.csv", ["seq", "modifications", "tr"], peptides)
    table = next(iter(SimulatedFragments(160, seed=4, modified=0.6).chunks()))
    annotated: dict[str, dict[str, float]] = {}
    for row, text in enumerate(table.texts):
        peptide = read_proforma(text)
        marks = {
            place: MARKS.get((peptide.letters[place - 1], modification.proforma))
            for place, modification in peptide.modifications
            if place
        }
        letters = "".join(marks.get(place) or letter for place, letter in enumerate(peptide.letters, 1))
        first = "*" if any(place == 0 for place, _ in peptide.modifications) else "@"
        ions = annotated.setdefault(f"{first}{letters}.{table.charge[row]}", {})
        for at in np.flatnonzero(table.row == row):
            lost = f"1,{table.loss[at]}" if table.loss[at] else "Noloss"
            ion = f"{'by'[table.series[at]]}{table.number[at]}+{table.ion_charge[at]}-{lost}"
            ions[ion] = 100 * float(table.intensity[at])
    write_gzip(folder / "ms2_deepphospho" / "rpe1_dia_train.json.gz", json.dumps(annotated))


if __name__ == "__main__":
    print(write_small_data(Path(sys.argv[1])))
