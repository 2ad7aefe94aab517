"""Runs cleaning steps in order and counts what each of them drops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trimer.data.core.drops import DropReport
from trimer.data.spectra.cleaning.step import Step, location
from trimer.data.spectra.spectrum_table import SpectrumTable


def clean(table: SpectrumTable, steps: Mapping[str, Step]) -> tuple[SpectrumTable, DropReport]:
    """Run the steps in order. The report lists every step by name, including those that dropped nothing."""
    report = DropReport(records=len(table))
    for name, step in steps.items():
        table, keep = step(table)
        report.add(name, table[step.example_field][~keep].tolist())
        table = table.take(keep)
    return table, report


def clean_rows(table: SpectrumTable, steps: Mapping[str, Step]) -> tuple[SpectrumTable, np.ndarray, np.ndarray]:
    """Run the steps in order, for callers such as prediction that need a result for every input row.

    Returns the cleaned table of k spectra, their input rows (k,), and for each of the n input rows the reason why it
    was dropped, or None.
    """
    rows = np.arange(len(table))
    reasons = np.full(len(table), None, dtype=object)
    for step in steps.values():
        table, keep = step(table)
        for row in np.flatnonzero(~keep).tolist():
            reasons[rows[row]] = table["problem"][row] or location(table, row) + step.reason()
        table, rows = table.take(keep), rows[keep]
    return table, rows, reasons
