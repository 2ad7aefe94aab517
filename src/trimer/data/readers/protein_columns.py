"""Columns of text from CSV, TSV and Parquet files, a few thousand rows at a time: the tables that hold proteins."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trimer.data.text.opening import open_text, readable_lines
from trimer.errors import InputError

ROWS = 4096


def read_columns(path: Path, names: Sequence[str], parquet: bool) -> Iterator[tuple[dict[str, list], list[int]]]:
    """The named columns of a table, and the line (of a text file, its header is line 1) or row of each value.

    Names are found whatever their case. InputError naming file and line for a column that is not there, a row that is
    too short, and a file that cannot be read.
    """
    return _parquet(path, names) if parquet else _text(path, names)


def _text(path: Path, names: Sequence[str]) -> Iterator[tuple[dict[str, list], list[int]]]:
    with open_text(path) as file:
        lines = readable_lines(path, file)
        head = next(lines, "")
        if not head.strip():
            raise InputError(f"{path}, line 1: there is no header; the columns need names")
        delimiter = "\t" if "\t" in head else ","
        header = next(csv.reader([head], delimiter=delimiter))
        places = [_place(path, name, header, ", line 1") for name in names]
        rows = csv.reader(lines, delimiter=delimiter)
        columns: list[list[str]] = [[] for _ in names]
        numbers: list[int] = []
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise InputError(f"{path}, line {rows.line_num + 1}: {error}: correct the line") from error
            if row is not None and any(cell.strip() for cell in row):
                if len(row) <= max(places):
                    found = f"{len(row)} cells, the header has {len(header)}"
                    raise InputError(f"{path}, line {rows.line_num + 1}: {found}: is the row cut off?")
                for column, place in zip(columns, places, strict=True):
                    column.append(row[place].strip())
                numbers.append(rows.line_num + 1)
            if numbers and (row is None or len(numbers) == ROWS):
                yield dict(zip(names, columns, strict=True)), numbers
                columns, numbers = [[] for _ in names], []
            if row is None:
                return


def _parquet(path: Path, names: Sequence[str]) -> Iterator[tuple[dict[str, list], list[int]]]:
    try:
        with pq.ParquetFile(path) as file:
            header = file.schema_arrow.names
            places = [_place(path, name, header) for name in names]
            first = 1
            for batch in file.iter_batches(ROWS, columns=[header[place] for place in places]):
                columns = {
                    name: batch.column(header[place]).cast(pa.string()).to_pylist()
                    for name, place in zip(names, places, strict=True)
                }
                yield columns, list(range(first, first + len(batch)))
                first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is no Parquet file that can be read ({str(error).splitlines()[0]})") from error


def _place(path: Path, name: str, header: Sequence[str], line: str = "") -> int:
    names = [column.strip().lower() for column in header]
    if name.lower() not in names:
        raise InputError(f"{path}{line}: no column '{name}', there are {', '.join(header)}; name one of them")
    return names.index(name.lower())
