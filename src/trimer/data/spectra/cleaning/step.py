"""What a cleaning step is, and the helpers that several steps share."""

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
    """What every cleaning step states about itself."""

    needs_label: ClassVar[bool] = False  # reads the structure, so prediction on unlabelled spectra leaves it out
    training_only: ClassVar[bool] = False  # would take rows from a user's file that could be predicted
    example_field: ClassVar[str] = "id"  # the column that the drop report quotes

    def reason(self) -> str:
        """Why a spectrum is dropped here, unless the step wrote a sentence of its own into `problem`."""
        raise NotImplementedError

    def __call__(self, table: SpectrumTable) -> Cleaned:
        raise NotImplementedError


def for_each_distinct(column: np.ndarray, function: Callable[..., object], slow: bool = False) -> np.ndarray:
    """function(value) for every row, called once for each distinct value; None stays None.

    slow: the function takes so long that many values are worth several processes; it stands at the top of a module.
    """
    distinct = [value for value in dict.fromkeys(column.tolist()) if value is not None]
    answers = for_each(function, distinct) if slow else map(function, distinct)
    found = {None: None, **dict(zip(distinct, answers, strict=True))}
    out = np.full(len(column), None, dtype=object)
    for row, value in enumerate(column.tolist()):
        out[row] = found[value]
    return out


def explain(table: SpectrumTable, keep: np.ndarray, clauses: Iterable[str]) -> SpectrumTable:
    """Write into `problem` why the rows outside the mask are dropped."""
    if keep.all():
        return table
    problem = table["problem"].copy()
    for row, clause in zip(np.flatnonzero(~keep), clauses, strict=True):
        problem[row] = place(table, row) + clause
    return table.with_columns(problem=problem)


def place(table: SpectrumTable, row: int) -> str:
    """Where a spectrum stands, to begin a sentence with: 'run.mgf, line 12 (feature 7): '."""
    file = table["file"][row]
    if not file:
        return ""
    unit = {".mzml": "scan", ".mzxml": "scan", ".json": "record"}.get(
        Path(file.removesuffix(".gz")).suffix.lower(), "line"
    )
    return f"{file}, {unit} {table['line'][row]} ({table['id'][row]}): "


def check_window(step: Step, key: str) -> None:
    """key: the name of the step in conf/data/cleaning."""
    if step.min > step.max:
        raise ConfigError(f"cleaning.{key}: min {step.min:g} is above max {step.max:g}; swap them")
