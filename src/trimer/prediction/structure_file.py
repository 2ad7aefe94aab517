"""An SDF file of predictions: a record with 2D coordinates for each predicted molecule, columns as its data fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import rdDepictor

from trimer.chemistry.parsed_structures import read_structure
from trimer.files import write_csv, written

SDF = ".sdf"
HEADS = ("row", "id", "precursor_mz", "adduct", "sequence")  # columns of the table of reasons, where the rows have them
TITLE = 80  # characters of the first line of a record; the field `id` has the whole id


def reasons_path(path: Path) -> Path:
    """The table of the records without a prediction, beside an SDF file."""
    return path.with_name(f"{path.stem}.reasons.csv")


def write_sdf(path: Path, columns: Sequence[str], rows: Sequence[Mapping], structure: str) -> None:
    """Write the rows with a molecule, and the others with their reasons to `reasons_path(path)`, both atomically.

    structure: the column of the SMILES or InChI. Empty columns of a row are left out. Without a row that has a reason,
    the table of reasons is removed, since it would be that of an earlier prediction.
    """
    with written(path) as temporary, temporary.open("w", newline="\n", encoding="utf-8") as stream:
        stream.writelines(records(columns, rows, structure))
    without = [row for row in rows if row["reason"] is not None]
    if without:
        write_csv(reasons_path(path), [*(name for name in HEADS if name in columns), "reason"], without)
    else:
        reasons_path(path).unlink(missing_ok=True)


def records(columns: Sequence[str], rows: Iterable[Mapping], structure: str) -> Iterator[str]:
    """The record of each row without a reason."""
    for row in rows:
        if row["reason"] is None:
            fields = "".join(field(name, row[name]) for name in columns if row[name] not in (None, ""))
            yield f"{mol_block(str(row[structure]), str(row['id']))}{fields}$$$$\n"


def field(name: str, value: object) -> str:
    """A data field: a line with its name, a line with its value, an empty line."""
    return f">  <{one_line(re.sub('[<>]', '_', name))}>\n{one_line(str(value))}\n\n"


def one_line(text: str) -> str:
    """The text with a blank for each line break, and before signs that begin a field or end a record."""
    line = "".join(sign if sign.isprintable() else " " for sign in text).strip()
    return f" {line}" if line.startswith((">", "$$$$")) else line


def mol_block(text: str, title: str) -> str:
    """The molecule of a SMILES or InChI with 2D coordinates; one without atoms if it cannot be read."""
    molecule = read_structure(text) or Chem.Mol()
    rdDepictor.Compute2DCoords(molecule)
    molecule.SetProp("_Name", one_line(title)[:TITLE])
    return Chem.MolToMolBlock(molecule)
