"""CSV, TSV and Parquet tables as rows of text, with the line of each row and why it cannot be used.

A row that does not fit the header is returned with its problem, and so is the incomplete last row of a truncated file.
An unclosed quote raises an error, because the next row cannot be found.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trimer.data.text.file_kinds import check_table
from trimer.data.text.opening import broken_end, read_chunks, read_lines
from trimer.data.text.reading_limits import settings
from trimer.errors import BrokenOff, InputError
from trimer.suggestions import did_you_mean

FEWER = "fewer cells than the header"
MORE = "more cells than the header"
ROWS = 4096
DELIMITERS = ",;|"  # of a table without tabs
_QUOTED = re.compile(r'"[^"]*"')
KEYS = " (column=<name> of trimer predict and embed; data.source.column=<name> to train)"
SEQUENCES = ("smiles", "sequence")  # columns that are read without being named
SHOWN = 20  # columns that an error message lists

LONGEST = 60  # characters of a column that an error message shows

Row = tuple[list[str | None], int, str | None]  # requested cells, line or row number, problem


def shown_names(names: Sequence[str]) -> str:
    """The names of columns for an error message: the first ones, each cut to a readable length."""
    shown = [name if len(name) <= LONGEST else f"{name[:LONGEST]}..." for name in names[:SHOWN]]
    return ", ".join([*shown, *["..."] * (len(names) > SHOWN)])


class TableFile:
    """A table with a header: CSV or TSV, compressed or not, or Parquet; the format is recognised by the content.

    The delimiter is a tab if the header has one, else the most frequent of comma, semicolon and bar. Column names match
    in any case, exact matches first. unit: what row numbers count, "line" (the header is line 1; a row over several
    lines has the number of its first) or "row" (Parquet). InputError with file and line if the file cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        start = next(read_chunks(path, 1 << 16), b"")
        check_table(path, start)
        self.parquet = start[:4] == b"PAR1"
        self.unit = "row" if self.parquet else "line"
        if self.parquet:
            with self._parquet_file() as file:
                self.header = list(file.schema_arrow.names)
        else:
            self.header = [name.strip() for name in next(self._records())[0]]

    def place_of(self, number: int) -> str:
        """Position of a row for messages, for example `superclass.csv, line 12`."""
        return f"{self.path.name}, {self.unit} {number}"

    def position(self, name: str) -> int:
        """Index of a column, from 0; InputError if no column or several have this name."""
        name = name.strip()
        matches = [index for index, column in enumerate(self.header) if column == name]
        matches = matches or [index for index, column in enumerate(self.header) if column.lower() == name.lower()]
        if len(matches) == 1:
            return matches[0]
        where = self.path if self.parquet else f"{self.path}, line 1"
        if matches:
            raise InputError(f"{where}: {len(matches)} columns are called '{name}': give them different names")
        shown = shown_names(self.header)
        meant = did_you_mean(name, self.header)
        keys = KEYS if name.strip().lower() in SEQUENCES else ""  # other columns are named by the user
        keys += self.without_header(name) if keys else ""
        raise InputError(f"{where}: no column '{name}', there are {shown}{meant or '; name one of them'}{keys}")

    def without_header(self, name: str) -> str:
        """What to do if the table is a list without a header; empty for a table of several columns."""
        if self.parquet or len(self.header) > 1:
            return ""
        return f"; if this line is a record and no header, write {name} in a line above it"

    def __contains__(self, name: str) -> bool:
        return any(column.lower() == name.strip().lower() for column in self.header)

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """The cells of these columns in every row, its line or row number, and its problem or None.

        Blank lines are skipped, but a line of delimiters is a row. Missing cells are None.
        """
        yield from self.rows_at([self.position(name) for name in names])

    def rows_at(self, positions: Sequence[int]) -> Iterator[Row]:
        """Like `rows`, for columns by their indices."""
        return self._parquet_rows(positions) if self.parquet else self._text_rows(positions)

    # ---------------------------------------------------------------- text

    def _records(self) -> Iterator[tuple[list[str], int]]:
        """The cells and the first line of the header and of every row."""
        csv.field_size_limit(settings.record_bytes)
        lines = read_lines(self.path)
        blank = 0
        for head in lines:
            if head.strip():
                break
            blank += 1
        rows = csv.reader(chain([head], lines), delimiter=delimiter_of(head), strict=True)
        begin = blank + 1
        headed = False
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                hint = "check for a quote that is not closed, or not doubled"
                raise InputError(f"{self.path}, the row from line {begin} on: {error}: {hint}") from error
            if row is None:
                return
            if any(cell.strip() for cell in row) or (headed and len(row) > 1):
                yield row, begin
                headed = True
            begin = blank + rows.line_num + 1

    def _text_rows(self, positions: Sequence[int]) -> Iterator[Row]:
        records = self._records()
        width = len(next(records)[0])
        line = 0
        try:
            for cells, line in records:
                problem = None
                if len(cells) < width:
                    problem = FEWER
                elif any(cell.strip() for cell in cells[width:]):  # empty cells are delimiters at the line end
                    problem = MORE
                yield [cells[i] if i < len(cells) else None for i in positions], line, problem
        except BrokenOff as error:
            if not line:
                raise
            yield [None] * len(positions), line + 1, broken_end(error)

    # ---------------------------------------------------------------- Parquet

    def _parquet_rows(self, positions: Sequence[int]) -> Iterator[Row]:
        names = [self.header[index] for index in positions]
        number = 1
        with self._parquet_file() as file:
            for batch in self._batches(file, names):
                columns = [self._texts(batch, name) for name in names]
                for cells in zip(*columns, strict=True):
                    yield list(cells), number, None
                    number += 1

    def _parquet_file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise InputError(_unreadable(self.path, error)) from error

    def _batches(self, file: pq.ParquetFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            yield from file.iter_batches(ROWS, columns=list(dict.fromkeys(names)))
        except (pa.ArrowException, OSError) as error:
            raise InputError(_unreadable(self.path, error)) from error

    def _texts(self, batch: pa.RecordBatch, name: str) -> list[str | None]:
        column = batch.column(name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            return [None if cell is None else json.dumps(cell, default=str) for cell in column.to_pylist()]
        try:
            return column.cast(pa.string()).to_pylist()
        except pa.ArrowException as error:
            raise InputError(
                f"{self.path}: column '{name}' has the type {column.type}, which is not text or a number"
            ) from error


def delimiter_of(header: str) -> str:
    """The delimiter of a header line: a tab if it has one, else the most frequent of `,`, `;` and `|`."""
    if "\t" in header:
        return "\t"
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}): write or download it again"
