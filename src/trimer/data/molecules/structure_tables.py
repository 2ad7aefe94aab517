"""Tables of molecules: CSV, TSV, Parquet, and SDF with one column per property."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rdkit import Chem

from trimer.chemistry.parsed_structures import reason_of
from trimer.data.molecules.molecule_rules import UNREADABLE
from trimer.data.text.compression import plain_name
from trimer.data.text.opening import broken_end, read_lines
from trimer.data.text.tables import Row, TableFile
from trimer.errors import BrokenOff, InputError

SDF = (".sdf", ".sd", ".mol")
END = "$$$$"
SMILES, NAME = "smiles", "name"
_PROPERTY = re.compile(r">.*?<(.+)>")


def open_table(path: Path) -> TableFile:
    """The table in a file; an SDF is recognised by its suffix."""
    return SdfTable(path) if Path(plain_name(path)).suffix.lower() in SDF else TableFile(path)


class SdfTable(TableFile):
    """An SDF as a table: `smiles` from the atoms and bonds, `name` from the first line, and each property by its name.

    Properties called `smiles` or `name` are ignored. A record that RDKit cannot read has a problem, as does the last
    record of a truncated file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.parquet = True  # the first line holds no column names
        self.unit = "record"
        names: dict[str, None] = {}
        records = 0
        for record, _ in self._blocks():
            records += 1
            names |= dict.fromkeys(_properties(record))
        if not records:
            raise InputError(f"{path} is empty; write or download it again")
        self.header = [SMILES, NAME, *(name for name in names if name.lower() not in (SMILES, NAME))]

    def rows_at(self, positions: Sequence[int]) -> Iterator[Row]:
        for number, (record, problem) in enumerate(self._blocks(), 1):
            cells = {name: value or None for name, value in _properties(record).items()}
            cells[NAME] = (record[0].strip() if record else "") or None
            cells[SMILES] = None
            if problem is None:
                cells[SMILES], problem = _smiles(record)
            yield [cells.get(self.header[position]) for position in positions], number, problem

    def _blocks(self) -> Iterator[tuple[list[str], str | None]]:
        """The lines of each record and its problem, if any."""
        lines: list[str] = []
        count = 0
        try:
            for line in read_lines(self.path):
                if line.rstrip() == END:
                    yield lines, None
                    count += 1
                    lines = []
                else:
                    lines.append(line.rstrip("\r\n"))
        except BrokenOff as error:
            if not count:
                raise
            yield [], broken_end(error)
            return
        if any(line.strip() for line in lines):
            yield lines, None


def _smiles(record: Sequence[str]) -> tuple[str | None, str | None]:
    """SMILES of a record, and why there is none."""
    block = "\n".join(record) + "\n"

    def read() -> Chem.Mol | None:
        return Chem.MolFromMolBlock(block)

    try:
        molecule = read()
    except Exception:  # RDKit raises its own C++ types on some malformed text
        molecule = None
    if molecule is None:
        return None, f"{UNREADABLE}: {reason_of(read)}"
    return Chem.MolToSmiles(molecule) or None, None


def _properties(record: Sequence[str]) -> dict[str, str]:
    """Name -> value; the lines of a longer value are joined by spaces."""
    properties: dict[str, str] = {}
    name: str | None = None
    for line in record:
        match = _PROPERTY.match(line)
        if match:
            name = match[1].strip()
            properties[name] = ""
        elif name is not None and not line.strip():
            name = None
        elif name is not None:
            properties[name] = f"{properties[name]} {line.strip()}".strip()
    return properties
