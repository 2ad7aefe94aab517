"""DataFrames of pandas and polars, tables of pyarrow, and dictionaries, as columns of Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimer.data.peptides.peptide_tables import ColumnTable

NAME = "input"  # stands in messages where a file has its name
_FRAMES = ("DataFrame", "LazyFrame", "Table", "RecordBatch")


def package_of(value: object) -> str:
    """The package that defines the type of a value, as `pandas`; nothing is imported to find it."""
    return type(value).__module__.partition(".")[0]


def columns_of(values: Any) -> dict[str, list] | None:
    """The columns of a table, or None for values that are none.

    A table is a DataFrame of pandas or polars, a Table or RecordBatch of pyarrow, a dictionary of lists, or a list of
    dictionaries with one row each.
    """
    kind, package = type(values).__name__, package_of(values)
    if package == "pandas" and kind == "DataFrame":
        return {str(name): values.iloc[:, place].tolist() for place, name in enumerate(values.columns)}
    if package == "polars" and kind in _FRAMES:
        frame = values.collect() if kind == "LazyFrame" else values
        return {name: frame[name].to_list() for name in frame.columns}
    if package == "pyarrow" and kind in _FRAMES:
        return {name: values.column(place).to_pylist() for place, name in enumerate(values.schema.names)}
    if isinstance(values, Mapping):
        return _dictionary(values)
    if isinstance(values, list | tuple) and values and all(isinstance(row, Mapping) for row in values):
        names = dict.fromkeys(str(name) for row in values for name in row)
        return {name: [row.get(name) for row in values] for name in names}
    return None


def _dictionary(values: Mapping) -> dict[str, list]:
    """Lists of one length; values that are no list are one row."""
    if not any(_is_list(value) for value in values.values()):
        return {str(name): [value] for name, value in values.items()}
    lengths = {str(name): len(value) if _is_list(value) else None for name, value in values.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name}: {length or 'no list'}" for name, length in lengths.items())
        raise ValueError(f"the columns of a dictionary must be lists of one length; there are {shown}")
    return {str(name): list(value) for name, value in values.items()}


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) or hasattr(value, "__array__")


def text_of(value: Any) -> str | None:
    """A cell as text without white space around it; None for None, NaN and NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return None
    return str(value.item() if hasattr(value, "item") else value).strip()


def as_table(columns: Mapping[str, Sequence]) -> ColumnTable:
    """The columns as a table that the readers of files understand."""
    texts = {name: [text_of(value) for value in values] for name, values in columns.items()}
    return ColumnTable(Path(NAME), list(texts), texts.__getitem__, unit="record")


def place_of(number: int, unit: str = "record") -> str:
    """The position of a record in messages, as `input, record 3`; number: from 1."""
    return f"{NAME}, {unit} {number}"
