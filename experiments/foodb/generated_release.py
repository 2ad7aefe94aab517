"""Write a generated release in FooDB's layout: real columns, but labels from rules. There is no chemistry in it.

    python experiments/foodb/generated_release.py foodb_generated --molecules <data>/molecules/superclass.csv

FooDB may not be redistributed, so `data=foodb` is tried out on this release: flavours, health effects, ontology terms
and classes follow from substructures, and `--noise` of all labels are flipped. `--share` of the compounds have terms of
a kind at all, as in FooDB. Every name says `generated`. The molecules are simulated, or those of a CSV file with a
column `smiles`. The same arguments write the same files.

Compound.csv has the header of the release of 2020, whose names are in another order than its columns.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt

from trimer.simulate.simulated_molecules import simulated_molecules

MARK = "generated, no chemistry in it"
HEADER = [  # as printed in the release of 2020: in the order of the file, not of the values
    "id", "public_id", "name", "moldb_iupac", "state", "annotation_quality", "description", "cas_number",
    "moldb_inchikey", "moldb_inchi", "moldb_smiles", "moldb_mono_mass", "kingdom", "superklass", "klass", "subklass",
]  # fmt: skip
GROUPS = {  # name -> SMARTS
    "acid": "[CX3](=O)[OX2H]", "alcohol": "[CX4][OX2H]", "amide": "[NX3][CX3]=O", "amine": "[NX3;!$(NC=O);!$(NS)]",
    "benzene": "c1ccccc1", "ester": "[CX3](=O)[OX2][#6]", "ether": "[#6;!$(C=O)][OX2][#6;!$(C=O)]",
    "halogen": "[F,Cl,Br,I]", "heteroaromatic": "[n,o,s]", "ketone": "[#6][CX3](=O)[#6]", "phenol": "c[OX2H]",
    "saturated ring": "[C;R]", "sulfur": "[#16]",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of terms: its two tables, its columns, and the groups that a compound of each term has."""

    links: str
    key: str
    table: str
    columns: tuple[str, ...]
    word: str
    rules: tuple[tuple[str, ...], ...]


KINDS = (
    Kind(
        "CompoundsFlavor.csv", "flavor_id", "Flavor.csv", ("id", "name", "flavor_group", "category"), "flavour",
        (("ester",), ("alcohol",), ("phenol",), ("amine",), ("sulfur",), ("ketone",)),
    ),
    Kind(
        "CompoundsHealthEffect.csv", "health_effect_id", "HealthEffect.csv", ("id", "name", "description"),
        "health effect", (("halogen",), ("benzene", "amide"), ("heteroaromatic", "amine"), ("ether", "benzene")),
    ),
    Kind(
        "CompoundOntologyTerm.csv", "ontology_term_id", "OntologyTerm.csv", ("id", "term", "definition"),
        "ontology term", (("benzene",), ("heteroaromatic",), ("saturated ring",), ("acid",), ("amide",)),
    ),
)  # fmt: skip
CLASSES = ("heteroaromatic", "benzene", "saturated ring")  # the first group that a molecule has is its superclass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the tables are written")
    parser.add_argument("--molecules", type=Path, help="a CSV with a column smiles; default: simulated molecules")
    parser.add_argument("--count", type=int, default=4000, help="number of compounds")
    parser.add_argument("--noise", type=float, default=0.05, help="fraction of labels that are flipped")
    parser.add_argument("--share", type=float, default=0.8, help="fraction of the compounds with terms, of each kind")
    parser.add_argument("--seed", type=int, default=0, help="seed of molecules, noise and share")
    arguments = parser.parse_args()
    smiles = molecules(arguments.molecules, arguments.count, arguments.seed)
    counts = write_release(arguments.folder, smiles, arguments.seed, arguments.noise, arguments.share)
    print(f"{arguments.folder}: {MARK}; {', '.join(f'{count:,} {name}' for name, count in counts.items())}")


def molecules(path: Path | None, count: int, seed: int) -> list[str]:
    """SMILES of a file in a random order, or simulated ones, at most `count` of them."""
    if path is None:
        return simulated_molecules(count, seed)
    with path.open(newline="", encoding="utf-8") as stream:
        known = list(dict.fromkeys(row["smiles"].strip() for row in csv.DictReader(stream)))
    order = np.random.default_rng(seed).permutation(len(known))
    return [known[row] for row in order[:count]]


def write_release(
    folder: Path, smiles: Sequence[str], seed: int = 0, noise: float = 0.05, share: float = 0.8
) -> dict[str, int]:
    """Write all tables; returns the number of compounds and of links of each kind. Invalid SMILES are left out."""
    if not 0 <= noise <= 0.5 or not 0 < share <= 1:
        raise SystemExit(f"noise={noise} must be from 0 to 0.5, and share={share} above 0 and at most 1")
    mols = [mol for mol in map(Chem.MolFromSmiles, smiles) if mol is not None and mol.GetNumAtoms()]
    patterns = {name: Chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}
    has = {name: np.array([mol.HasSubstructMatch(pattern) for mol in mols]) for name, pattern in patterns.items()}
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.txt").write_text(f"A release in FooDB's layout: {MARK}. Seed {seed}, noise {noise}.\n")
    write(folder / "Compound.csv", HEADER, [compound(n, mol, has) for n, mol in enumerate(mols)])
    counts = {"compounds": len(mols)}
    for kind in KINDS:
        true = np.stack([np.all([has[name] for name in rule], 0) for rule in kind.rules], 1)
        flipped = true ^ (random.random(true.shape) < noise)
        flipped &= (random.random(len(mols)) < share)[:, None]
        terms = [f"{kind.word} of {' and '.join(rule)} (generated)" for rule in kind.rules]
        write(folder / kind.table, kind.columns, [[n, t, *[MARK] * (len(kind.columns) - 2)] for n, t in
                                                  enumerate(terms, 1)])  # fmt: skip
        links = [[row + 1, term + 1] for row, term in np.argwhere(flipped)]
        write(folder / kind.links, ["id", "compound_id", kind.key, "citations"],
              [[n, *link, MARK] for n, link in enumerate(links, 1)])  # fmt: skip
        counts[f"links to {kind.word}s"] = len(links)
    return counts


def compound(number: int, mol: Chem.Mol, has: dict[str, np.ndarray]) -> list[object]:
    """A row of Compound.csv: the values in the order of the columns of the release."""
    group = next((name for name in CLASSES if has[name][number]), "chain")
    finer = next((name for name in ("amide", "ester", "amine", "ether") if has[name][number]), "other")
    classes = ["generated kingdom", f"superclass of {group} (generated)", f"class of {finer} (generated)", ""]
    key = Chem.MolToInchiKey(mol)
    inchi, mass = Chem.MolToInchi(mol), f"{ExactMolWt(mol):.5f}"
    named = [number + 1, f"GEN{number + 1:06d}", f"generated {number + 1}", "", "generated", MARK, ""]
    return [*named, Chem.MolToSmiles(mol), inchi, mass, key, "", *classes]


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    main()
