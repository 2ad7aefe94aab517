"""Base classes of cleaning steps, and helpers that several steps share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from trimer.data.core.parallel import for_each
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError

Cleaned = tuple[SpectrumTable, np.ndarray]


class Step:
    """Base class of cleaning steps."""

    needs_label: ClassVar[bool] = False  # needs the structure, so prediction on unlabelled spectra skips it
    training_only: ClassVar[bool] = False  # would drop spectra that can be predicted, so prediction skips it
    example_field: ClassVar[str] = "id"  # the column that the drop report quotes

    def reason(self) -> str:
        """Why this step drops a spectrum, if it writes no specific reason into `problem`."""
        raise NotImplementedError

    def __call__(self, table: SpectrumTable) -> Cleaned:
        raise NotImplementedError


class WindowStep(Step):
    """Base class of steps with a minimum and a maximum; key: name of the step in conf/data/cleaning."""

    key: ClassVar[str]
    min: float
    max: float

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ConfigError(f"cleaning.{self.key}: min {self.min:g} is above max {self.max:g}; swap them")


def for_each_distinct(column: np.ndarray, function: Callable[..., object], slow: bool = False) -> np.ndarray:
    """(n,) function(value) for every row, called once for each distinct value; None stays None.

    slow: use several processes for many values; the function must then be defined at the top level of a module.
    """
    distinct = [value for value in dict.fromkeys(column.tolist()) if value is not None]
    results = for_each(function, distinct) if slow else map(function, distinct)
    result_of = {None: None, **dict(zip(distinct, results, strict=True))}
    out = np.full(len(column), None, dtype=object)
    for row, value in enumerate(column.tolist()):
        out[row] = result_of[value]
    return out


def explain(table: SpectrumTable, keep: np.ndarray, clauses: Iterable[str]) -> SpectrumTable:
    """The table with the reasons in `problem` for the rows outside the mask."""
    if keep.all():
        return table
    problem = table["problem"].copy()
    for row, clause in zip(np.flatnonzero(~keep).tolist(), clauses, strict=True):
        problem[row] = location(table, row) + clause
    return table.with_columns(problem=problem)


def location(table: SpectrumTable, row: int) -> str:
    """File and line of a spectrum as the start of a message: 'run.mgf, line 12 (feature 7): '."""
    file = table["file"][row]
    if not file:
        return ""
    unit = {".mzml": "scan", ".mzxml": "scan", ".json": "record"}.get(
        Path(file.removesuffix(".gz")).suffix.lower(), "line"
    )
    return f"{file}, {unit} {table['line'][row]} ({table['id'][row]}): "
