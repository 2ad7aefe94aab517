"""Where molecules come from: SMILES and CSV files of the user, and PubChem's list of all compounds.

Every source has `fingerprint()`, which changes when and only when its molecules change, and `chunks()`, which yields
(ids, SMILES) as they stand in the file, in flat memory. `trimer.data.molecule_keys` makes a table of keys of them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from trimer.data.sources.files import find_files, named_paths
from trimer.data.store import content_digest
from trimer.data.text.opening import open_text, readable_lines
from trimer.errors import InputError

CHUNK = 100_000
TABLES = (".csv", ".tsv")
WANTED = "a SMILES or CSV file"
PUBCHEM = "https://ftp.ncbi.nlm.nih.gov/pubchem/Compound/Extras/CID-SMILES.gz"


class MoleculeSource(Protocol):
    """What gives molecules in chunks: SMILES files, PubChem."""

    def fingerprint(self) -> str: ...

    def chunks(self, size: int = ...) -> Iterator[tuple[list[str], list[str]]]: ...


class SmilesFiles:
    """Molecules of text files, plain or gzipped.

    paths: files or globs. A `.csv` or `.tsv` has a header line and its SMILES in `column`; any other file has one
    molecule a line, the SMILES first, then perhaps white space and an id. Lines that are empty are passed over.
    id_column: the column of a table that names the molecule; else ids are file name and line, as `corpus.smi:12`.
    limit: stop after so many molecules.
    """

    def __init__(
        self,
        paths: str | Sequence[str],
        column: str = "smiles",
        id_column: str | None = None,
        limit: int | None = None,
    ):
        _check_limit(limit)
        self.paths = named_paths(paths, WANTED)
        self.column = column
        self.id_column = id_column
        self.limit = limit

    def files(self) -> list[Path]:
        """The files that the paths name, sorted within each glob."""
        return find_files(self.paths, WANTED)

    def fingerprint(self) -> str:
        return f"{content_digest(self.files())}/{self.column}/{self.id_column}/{self.limit}"

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[list[str], list[str]]]:
        """(ids, SMILES) of at most `size` molecules at a time."""
        return _in_chunks(self._rows(), size, self.limit, " and ".join(self.paths))

    def _rows(self) -> Iterator[tuple[str, str]]:
        for path in self.files():
            with open_text(path) as file:
                table = any(suffix in TABLES for suffix in path.suffixes[-2:])
                yield from self._table(path, file) if table else self._lines(path, file)

    def _lines(self, path: Path, file: TextIO) -> Iterator[tuple[str, str]]:
        for number, line in enumerate(readable_lines(path, file), 1):
            words = line.split(None, 1)
            if words:
                yield (words[1].strip() if len(words) > 1 else f"{path.name}:{number}"), words[0]

    def _table(self, path: Path, file: TextIO) -> Iterator[tuple[str, str]]:
        rows = csv.reader(readable_lines(path, file), delimiter="\t" if ".tsv" in path.suffixes[-2:] else ",")
        header = next(rows, None)
        if header is None:
            raise InputError(f"{path} is empty")
        places = {}
        for wanted in filter(None, (self.column, self.id_column)):
            names = [name.strip().lower() for name in header]
            if wanted.lower() not in names:
                raise InputError(f"{path}, line 1: no column '{wanted}', there are {', '.join(header)}; set `column`")
            places[wanted] = names.index(wanted.lower())
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= max(places.values()):
                raise InputError(f"{path}, line {rows.line_num}: {len(row)} cells, the header has {len(header)}")
            smiles = row[places[self.column]].strip()
            yield (row[places[self.id_column]].strip() if self.id_column else f"{path.name}:{rows.line_num}"), smiles


class PubChemSmiles:
    """All compounds of PubChem (about 120 million): CID-SMILES.gz, a CID, a tab and a SMILES a line.

    path: a copy that is already there; else the file is downloaded once to `folder` from the publisher, who states no
    checksum. limit: stop after so many molecules.
    """

    def __init__(
        self, path: str | None = None, folder: str = "data/pubchem", limit: int | None = None, url: str = PUBCHEM
    ):
        _check_limit(limit)
        self.path = path
        self.folder = folder
        self.limit = limit
        self.url = url

    def file(self) -> Path:
        """The local copy, downloaded if it is not there yet."""
        if self.path is not None:
            path = Path(self.path).expanduser()
            if not path.is_file():
                raise InputError(f"{path}: no such file; leave `path` empty to download {self.url}")
            return path
        from trimer.data.sources.download import download

        return download(self.url, self.folder)

    def fingerprint(self) -> str:
        return f"{content_digest([self.file()])}/{self.limit}"

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[list[str], list[str]]]:
        """(CIDs, SMILES) of at most `size` molecules at a time."""
        return _in_chunks(self._rows(), size, self.limit, str(self.file()))

    def _rows(self) -> Iterator[tuple[str, str]]:
        path = self.file()
        with open_text(path) as file:
            for number, line in enumerate(readable_lines(path, file), 1):
                cid, tab, smiles = line.rstrip("\n").partition("\t")
                if not tab:
                    raise InputError(f"{path}, line {number}: expected a CID, a tab and a SMILES, found {line[:60]!r}")
                yield cid, smiles


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} must be 1 or more, or null")


def _in_chunks(
    rows: Iterator[tuple[str, str]], size: int, limit: int | None, source: str
) -> Iterator[tuple[list[str], list[str]]]:
    ids: list[str] = []
    smiles: list[str] = []
    count = 0
    for name, text in rows:
        if limit is not None and count >= limit:
            break
        ids.append(name)
        smiles.append(text)
        count += 1
        if len(ids) == size:
            yield ids, smiles
            ids, smiles = [], []
    if ids:
        yield ids, smiles
    if not count:
        raise InputError(f"{source}: there is no molecule in it")
