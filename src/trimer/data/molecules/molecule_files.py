"""Sources of molecules: the user's SMILES, CSV and SDF files, and PubChem's list of all compounds.

Every source has `fingerprint()`, which changes when and only when its molecules change, and `chunks()`, which yields
`MoleculeTable`s. `trimer.data.molecules.molecule_keys` computes the keys of their molecules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.core.label_table import check_limit
from trimer.data.molecules.structure_tables import SDF, open_table
from trimer.data.text.column_names import column_called
from trimer.data.text.compression import plain_name
from trimer.data.text.content import content_digest
from trimer.data.text.file_kinds import check_lines
from trimer.data.text.missing import known
from trimer.data.text.opening import broken_end, read_lines
from trimer.data.text.paths import DownloadedFile, NamedFiles, named_paths
from trimer.errors import BrokenOff, InputError

CHUNK = 100_000
TABLES = (".csv", ".tsv", ".parquet", *SDF)
PUBCHEM = "https://ftp.ncbi.nlm.nih.gov/pubchem/Compound/Extras/CID-SMILES.gz"


MoleculeRow = tuple[str, str, str | None]  # id, SMILES, problem


@dataclass
class MoleculeTable:
    """n molecules in the order of their source, with SMILES as written there. problems: row -> why it is unusable."""

    ids: list[str]
    smiles: list[str]
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


class MoleculeSource(Protocol):
    """A source that yields molecules in chunks: SMILES files, PubChem."""

    def fingerprint(self) -> str: ...

    def chunks(self, size: int = ...) -> Iterator[MoleculeTable]: ...


class SmilesFiles(NamedFiles):
    """Molecules of text files, compressed or not.

    paths: files or globs. A `.csv`, `.tsv` or `.parquet` file has SMILES or InChI in `column`; an `.sdf` file has atoms
    and bonds; any other file has one molecule per line: a SMILES or InChI, then optionally white space and an id. Empty
    lines are skipped. A table without a column `smiles` may use another common name for it.
    id_column: the column with the molecule's id; by default ids are file name and line, such as `corpus.smi:12`.
    limit: largest number of molecules to read.
    """

    wanted = "a SMILES, CSV or SDF file"

    def __init__(
        self,
        paths: str | Sequence[str],
        column: str = "smiles",
        id_column: str | None = None,
        limit: int | None = None,
    ):
        check_limit(limit)
        self.paths = named_paths(paths, self.wanted)
        self.column = column
        self.id_column = id_column
        self.limit = limit

    def fingerprint(self) -> str:
        return f"{content_digest(self.files())}/{self.column}/{self.id_column}/{self.limit}"

    def chunks(self, size: int = CHUNK) -> Iterator[MoleculeTable]:
        """Tables of at most `size` molecules."""
        return _chunks_of(self._rows(), size, self.limit, " and ".join(self.paths))

    def _rows(self) -> Iterator[MoleculeRow]:
        for path in self.files():
            table = Path(plain_name(path)).suffix.lower() in TABLES
            if not table:
                check_lines(path)
            yield from self._table(path) if table else _with_break(path, self._lines(path))

    def _lines(self, path: Path) -> Iterator[MoleculeRow]:
        for number, line in enumerate(read_lines(path), 1):
            words = line.split(None, 1)
            if words:
                yield (words[1].strip() if len(words) > 1 else "") or f"{path.name}:{number}", words[0], None

    def _table(self, path: Path) -> Iterator[MoleculeRow]:
        file = open_table(path)
        names = [column_called(file, self.column), *filter(None, [self.id_column])]
        for cells, number, problem in file.rows(names):
            smiles, name = known(cells[0]) or "", known(cells[1]) if self.id_column else None
            yield name or f"{path.name}:{number}", smiles, problem or (None if smiles else NO_SEQUENCE)


class PubChemSmiles(DownloadedFile, SmilesFiles):
    """All compounds of PubChem (about 120 million) from CID-SMILES.gz, whose lines hold a CID, a tab and a SMILES.

    path: an existing copy; by default the file is downloaded once to `folder` (PubChem publishes no checksum). limit:
    largest number of molecules to read.
    """

    def __init__(
        self, path: str | None = None, folder: str = "data/pubchem", limit: int | None = None, url: str = PUBCHEM
    ):
        super().__init__(path or str(Path(folder) / Path(url).name), limit=limit)
        self.path, self.folder, self.url = path, folder, url

    def _lines(self, path: Path) -> Iterator[MoleculeRow]:
        for line in read_lines(path):
            cid, tab, smiles = line.rstrip("\r\n").partition("\t")
            yield cid, smiles, None if tab else "the line is not a CID, a tab and a SMILES"


def _with_break(path: Path, rows: Iterator[MoleculeRow]) -> Iterator[MoleculeRow]:
    """The rows of a file, then a row with a problem if the file is truncated; BrokenOff if no row could be read."""
    count = 0
    try:
        for row in rows:
            yield row
            count += 1
    except BrokenOff as error:
        if not count:
            raise
        yield f"{path.name}:end", "", broken_end(error)


def _chunks_of(rows: Iterator[MoleculeRow], size: int, limit: int | None, source: str) -> Iterator[MoleculeTable]:
    rows = islice(rows, limit)
    count = 0
    while chunk := list(islice(rows, size)):
        count += len(chunk)
        ids, smiles, problems = zip(*chunk, strict=True)
        yield MoleculeTable(list(ids), list(smiles), {row: why for row, why in enumerate(problems) if why})
    if not count:
        raise InputError(f"{source} contains no molecule")
