"""Sources of labelled molecules and proteins: tables with a column for each label, and FASTA with labels in headers.

Every source has `fingerprint()`, which changes when its records may have changed, and `chunks()`, which yields
`LabelTable`s. Tables without a column `file` get one with the name of the file, so that a split can distinguish
`train.csv` from `test.csv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.core.label_table import (
    FILE,
    LabelTable,
    check_limit,
    empty_table,
    label_names,
    limited,
    settings_text,
)
from trimer.data.molecules.structure_tables import open_table
from trimer.data.text.column_names import column_called
from trimer.data.text.content import content_digest
from trimer.data.text.fasta import FastaRecords, read_fasta
from trimer.data.text.missing import known
from trimer.data.text.opening import decode
from trimer.data.text.paths import NamedFiles, named_paths
from trimer.data.text.tables import ROWS, Row, TableFile
from trimer.errors import InputError

NO_MATCH = "the header does not match the pattern"


class LabelledFiles(NamedFiles):
    """Records of CSV, TSV, Parquet and SDF files, the text files compressed or not.

    paths: files or globs. column: SMILES, InChI or residues; `smiles` and `sequence` are also recognised under other
    common names, and are the atoms and bonds in an SDF. labels: the column or columns of the labels; null: all named
    columns except sequence, id and other requested columns. id_column: the id of a record; without an id, a record is
    named by file and line, such as `mine.csv:12`. Duplicate ids are kept. limit: largest number of records to read. A
    row without a sequence, or with another number of cells than the header, has a problem.
    """

    wanted = "a CSV, TSV, Parquet or SDF file"

    def __init__(
        self,
        paths: str | Sequence[str],
        column: str,
        labels: str | Sequence[str] | None,
        id_column: str | None = None,
        limit: int | None = None,
    ):
        check_limit(limit)
        self.paths = named_paths(paths, self.wanted)
        self.column = column
        self.labels = label_names(labels)
        self.id_column = id_column
        self.limit = limit
        if self.labels and column in self.labels:
            raise ValueError(f"'{column}' is both the sequence and a label: name other columns in labels")

    def fingerprint(self) -> str:
        settings = {name: getattr(self, name) for name in ("column", "labels", "id_column", "limit")}
        return fingerprint_of(self.files(), settings)

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of a few thousand records, with the requested columns."""
        return limited(self._tables(columns), self.limit, " and ".join(self.paths))

    def _tables(self, columns: Sequence[str]) -> Iterator[LabelTable]:
        labels = self.labels
        for path in self.files():
            file = open_table(path)
            column = column_called(file, self.column)
            labels = self._other_columns(file, columns) if labels is None else labels
            by_name = FILE in columns and FILE not in file
            read_columns = [name for name in columns if not (by_name and name == FILE)]
            names = [column, *filter(None, [self.id_column]), *labels, *read_columns]
            rows = file.rows(names)
            while chunk := list(islice(rows, ROWS)):
                table = self._table(file, chunk, labels, read_columns)
                if by_name:
                    table.columns[FILE] = [path.name] * len(table)
                yield table

    def _table(self, file: TableFile, rows: Sequence[Row], labels: Sequence[str], columns: Sequence[str]) -> LabelTable:
        table = empty_table(labels, columns)
        lists = [*table.labels.values(), *table.columns.values()]
        first = 1 + (self.id_column is not None)
        for row, (cells, number, problem) in enumerate(rows):
            values = [known(cell) for cell in cells]
            table.texts.append(values[0] or "")
            table.ids.append((values[1] if first == 2 else None) or f"{file.path.name}:{number}")
            table.places.append(file.place_of(number))
            for texts, value in zip(lists, values[first:], strict=True):
                texts.append(value)
            problem = problem or (None if values[0] else NO_SEQUENCE)
            if problem:
                table.problems[row] = problem
        return table

    def _other_columns(self, file: TableFile, columns: Sequence[str]) -> list[str]:
        column = column_called(file, self.column)
        used = {file.position(name) for name in (column, self.id_column, *columns) if name and name in file}
        file.position(column)  # raises an error if it is missing
        names = [name for position, name in enumerate(file.header) if name and position not in used]
        if not names:
            raise InputError(f"{file.path}: no column is left for a label besides {', '.join(file.header)}")
        return names


class UnlabelledFiles(LabelledFiles):
    """LabelledFiles without labels: records to predict for."""

    def __init__(self, paths: str | Sequence[str], column: str, id_column: str | None = None):
        super().__init__(paths, column, None, id_column)
        self.labels = []


class LabelledFasta(NamedFiles):
    """Proteins of FASTA files with labels in the headers, such as `>P05067 Cell.membrane-M`.

    paths: files or globs. pattern: a regular expression to search for in each header (without `>`). Its named groups
    are the labels, except `id`, the id (by default the first word), and groups that are requested as columns. A group
    that does not match, or matches NA, is missing. Other columns are the `key=value` pairs of the header, such as
    `SET=train`. limit: largest number of proteins to read. A protein whose header does not match has a problem.
    """

    wanted = "a FASTA file"

    def __init__(self, paths: str | Sequence[str], pattern: str, limit: int | None = None):
        check_limit(limit)
        self.paths = named_paths(paths, self.wanted)
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from error
        self.limit = limit
        if not self.pattern.groupindex.keys() - {"id"}:
            raise ValueError(f"pattern {pattern!r} has no named group for a label: write one as (?P<location>\\S+)")

    def fingerprint(self) -> str:
        return fingerprint_of(self.files(), {"pattern": self.pattern.pattern, "limit": self.limit})

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of a few hundred proteins, with the requested columns."""
        return limited(self._tables(columns), self.limit, " and ".join(self.paths))

    def _tables(self, columns: Sequence[str]) -> Iterator[LabelTable]:
        values = [name for name in columns if name != FILE and name not in self.pattern.groupindex]
        for path in self.files():
            first = True
            for records in read_fasta(path):
                table = self._table(path, records, columns)
                if first and all(problem == NO_MATCH for problem in map(table.problems.get, range(len(table)))):
                    raise InputError(
                        f"{path}: no header matches the pattern {self.pattern.pattern!r}, the first is "
                        f"'{records.headers[0][:80]}': correct the pattern"
                    )
                if first and (missing := [name for name in values if not any(table.columns[name])]):
                    raise InputError(f"{path}: no header has '{missing[0]}=...': name another column, or none")
                first = False
                yield table

    def _table(self, path: Path, records: FastaRecords, columns: Sequence[str]) -> LabelTable:
        matches = [self.pattern.search(header) for header in records.headers]
        groups = {
            name: [known(match[name]) if match else None for match in matches] for name in self.pattern.groupindex
        }
        lines = records.lines.tolist()
        id_parts = zip(groups.pop("id", [None] * len(lines)), records.ids, lines, strict=True)
        problems = {row: NO_MATCH for row, match in enumerate(matches) if match is None}
        return LabelTable(
            [name or first or f"{path.name}:{line}" for name, first, line in id_parts],
            [decode(records.sequences[row].tobytes()) for row in range(len(matches))],
            {name: values for name, values in groups.items() if name not in columns},
            {name: self._column(name, path, records, groups) for name in columns},
            [f"{path.name}, line {line}" for line in lines],
            problems | records.problems,
        )

    def _column(self, name: str, path: Path, records: FastaRecords, groups: dict[str, list]) -> list[str | None]:
        if name in groups:
            return groups[name]
        if name == FILE:
            return [path.name] * len(records)
        return [known(value) for value in records.values(name)]


def fingerprint_of(files: Sequence[Path], settings: dict[str, object]) -> str:
    """Fingerprint of files and settings. File names count, as ids and the column `file` contain them."""
    names = ",".join(path.name for path in files)
    return f"{content_digest(files)}/{names}/{settings_text(settings)}"
