"""Write tables in FooDB's layout from a table of labelled molecules, with simulated flavours.

    python experiments/foodb/flavour_rows.py <data>/molecules/superclass.csv foodb_like

FooDB itself cannot be redistributed. Its published accuracy of 98 % comes from a join, not from chemistry: a compound
has several flavours, so it has several rows, and the split was by row. Here 1,000 molecules get 1 to 10 flavours each
(4.6 on average), drawn independently of molecule and class. The flavours carry no information, but the rows leak.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

FLAVOURS = ("sweet", "bitter", "fruity", "green", "woody", "floral", "herbal", "spicy", "fatty", "balsamic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a CSV with the columns smiles, superclass and name")
    parser.add_argument("folder", type=Path, help="where the tables are written")
    parser.add_argument("--molecules", type=int, default=1000, help="number of molecules")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn molecules and flavours")
    arguments = parser.parse_args()
    with arguments.table.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["superclass"]]
    random = np.random.default_rng(arguments.seed)
    chosen = [rows[i] for i in random.permutation(len(rows))[: arguments.molecules]]
    compounds: list[list] = []
    links: list[list[int]] = []
    for number, row in enumerate(chosen, 1):
        compounds.append([number, f"FDB{number:06d}", row["name"], row["smiles"], row["superclass"]])
        count = min(1 + random.poisson(3.6), len(FLAVOURS))
        links += [[number, 1 + flavour] for flavour in random.permutation(len(FLAVOURS))[:count]]
    tables: dict[str, tuple[list[str], list]] = {
        "Compound.csv": (["id", "public_id", "name", "moldb_smiles", "superklass"], compounds),
        "CompoundsFlavor.csv": (["id", "compound_id", "flavor_id"], [[i, *link] for i, link in enumerate(links, 1)]),
        "Flavor.csv": (["id", "name"], list(enumerate(FLAVOURS, 1))),
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, (header, body) in tables.items():
        with (arguments.folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *body])
    print(f"{arguments.folder}: {len(compounds):,} compounds, {len(links):,} links to flavours")


if __name__ == "__main__":
    main()
