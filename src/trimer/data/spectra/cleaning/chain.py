"""The steps run one after another, with every drop counted under the step that made it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trimer.data.core.drops import DropReport
from trimer.data.spectra.cleaning.step import Step, place
from trimer.data.spectra.spectrum_table import SpectrumTable


def clean(table: SpectrumTable, steps: Mapping[str, Step]) -> tuple[SpectrumTable, DropReport]:
    """Run the steps in order. The report lists every step by its name, also those that dropped nothing."""
    report = DropReport(records=len(table))
    for name, step in steps.items():
        table, keep = step(table)
        report.add(name, table[step.example_field][~keep].tolist())
        table = table.take(keep)
    return table, report


def clean_rows(table: SpectrumTable, steps: Mapping[str, Step]) -> tuple[SpectrumTable, np.ndarray, np.ndarray]:
    """The same chain for callers that answer for every row of their input, such as prediction.

    Returns the cleaned table of k spectra, the input rows (k,) they came from, and for each of the n input rows the
    sentence that says why it was dropped, or None.
    """
    rows = np.arange(len(table))
    reasons = np.full(len(table), None, dtype=object)
    for step in steps.values():
        table, keep = step(table)
        for row in np.flatnonzero(~keep):
            reasons[rows[row]] = table["problem"][row] or place(table, row) + step.reason()
        table, rows = table.take(keep), rows[keep]
    return table, rows, reasons
