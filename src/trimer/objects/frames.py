"""Conversion of pandas and polars DataFrames, pyarrow tables and dictionaries to columns of Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimer.data.peptides.peptide_tables import ColumnTable

NAME = "input"  # used in messages instead of a file name
_FRAMES = ("DataFrame", "LazyFrame", "Table", "RecordBatch")


def package_of(value: object) -> str:
    """Name of the package that defines the type of a value, for example `pandas`; imports nothing."""
    return type(value).__module__.partition(".")[0]


def columns_of(values: Any) -> dict[str, list] | None:
    """The columns of a table, or None if the values are not a table.

    A table is a DataFrame of pandas or polars, a Table or RecordBatch of pyarrow, a dictionary of lists, or a list of
    dictionaries with one row each.
    """
    kind, package = type(values).__name__, package_of(values)
    if package == "pandas" and kind == "DataFrame":
        return {str(name): values.iloc[:, index].tolist() for index, name in enumerate(values.columns)}
    if package == "polars" and kind in _FRAMES:
        frame = values.collect() if kind == "LazyFrame" else values
        return {name: frame[name].to_list() for name in frame.columns}
    if package == "pyarrow" and kind in _FRAMES:
        return {name: values.column(index).to_pylist() for index, name in enumerate(values.schema.names)}
    if isinstance(values, Mapping):
        return _dictionary(values)
    if isinstance(values, list | tuple) and values and all(isinstance(row, Mapping) for row in values):
        names = dict.fromkeys(str(name) for row in values for name in row)
        return {name: [row.get(name) for row in values] for name in names}
    return None


def _dictionary(values: Mapping) -> dict[str, list]:
    """Columns of a dictionary of lists of equal length; a dictionary without lists is one row."""
    if not any(_is_list(value) for value in values.values()):
        return {str(name): [value] for name, value in values.items()}
    lengths = {str(name): len(value) if _is_list(value) else None for name, value in values.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name}: {length or 'not a list'}" for name, length in lengths.items())
        raise ValueError(f"the columns of a dictionary must be lists of equal length; the lengths are {shown}")
    return {str(name): list(value) for name, value in values.items()}


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "__array__")


def text_of(value: Any) -> str | None:
    """A cell as stripped text; None for None, NaN and NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    return str(value.item() if hasattr(value, "item") else value).strip()


def as_table(columns: Mapping[str, Sequence]) -> ColumnTable:
    """The columns as a table for the readers of files."""
    texts = {name: [text_of(value) for value in values] for name, values in columns.items()}
    return ColumnTable(Path(NAME), list(texts), texts.__getitem__, unit="record")


def place_of(number: int, unit: str = "record") -> str:
    """Position of a record for messages, for example `input, record 3`; number: from 1."""
    return f"{NAME}, {unit} {number}"
