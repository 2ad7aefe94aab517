"""Conversion of pandas and polars DataFrames, pyarrow tables and dictionaries to columns of Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimer.data.peptides.peptide_tables import ColumnTable
from trimer.errors import InputError

NAME = "input"  # used in messages instead of a file name
_FRAMES = ("DataFrame", "LazyFrame", "Table", "RecordBatch")


def package_of(value: object) -> str:
    """Name of the package that defines the type of a value, for example `pandas`; imports nothing."""
    return type(value).__module__.partition(".")[0]


def columns_of(values: Any) -> dict[str, list] | None:
    """The columns of a table, or None if the values are not a table.

    A table is a DataFrame of pandas or polars, a Table or RecordBatch of pyarrow, a dictionary of lists, or a list of
    dictionaries with one row each, or None for a row without values. InputError for columns of one name.
    """
    kind, package = type(values).__name__, package_of(values)
    if package == "pandas" and kind == "DataFrame":
        columns = {str(name): values.iloc[:, index].tolist() for index, name in enumerate(values.columns)}
        return _all_named(columns, values.columns)
    if package == "polars" and kind in _FRAMES:
        frame = values.collect() if kind == "LazyFrame" else values
        return {name: frame[name].to_list() for name in frame.columns}
    if package == "pyarrow" and kind in _FRAMES:
        columns = {name: values.column(index).to_pylist() for index, name in enumerate(values.schema.names)}
        return _all_named(columns, values.schema.names)
    if isinstance(values, Mapping):
        return _dictionary(values)
    rows = [row or {} for row in values if row is None or isinstance(row, Mapping)] if _is_rows(values) else []
    if rows and len(rows) == len(values):
        names = dict.fromkeys(str(name) for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}
    return None


def _is_rows(values: Any) -> bool:
    return isinstance(values, list | tuple) and any(isinstance(row, Mapping) for row in values)


def _all_named(columns: dict[str, list], names: Sequence) -> dict[str, list]:
    if len(columns) < len(names):
        texts = [str(name) for name in names]
        repeated = next(name for name in texts if texts.count(name) > 1)
        raise InputError(f"the table has several columns '{repeated}'; rename or remove all but one")
    return columns


def _dictionary(values: Mapping) -> dict[str, list]:
    """Columns of a dictionary of lists of equal length; a dictionary without lists is one row."""
    if not any(_is_list(value) for value in values.values()):
        return {str(name): [value] for name, value in values.items()}
    lengths = {str(name): len(value) if _is_list(value) else None for name, value in values.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name}: {length or 'not a list'}" for name, length in lengths.items())
        raise InputError(f"the columns of a dictionary must be lists of equal length; the lengths are {shown}")
    return {str(name): list(value) for name, value in values.items()}


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "__array__")


def text_of(value: Any) -> str | None:
    """A cell as stripped text; None for None, NaN, NA, and for arrays with several values."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or getattr(value, "size", 1) != 1:
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else str(value).strip()


def as_table(columns: Mapping[str, Sequence]) -> ColumnTable:
    """The columns as a table for the readers of files."""
    texts = {name: [text_of(value) for value in values] for name, values in columns.items()}
    return ColumnTable(Path(NAME), list(texts), texts.__getitem__, unit="record")


def place_of(number: int, unit: str = "record") -> str:
    """Position of a record for messages, for example `input, record 3`; number: from 1."""
    return f"{NAME}, {unit} {number}"
