"""A single spectrum of a table, for display and plots."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from trimer.counts import counted


@dataclass(repr=False)
class Spectrum:
    """One spectrum: m/z (P,) in Th, intensity (P,), and its non-missing fields."""

    mz: np.ndarray
    intensity: np.ndarray
    fields: dict[str, Any]

    def __len__(self) -> int:
        return len(self.mz)

    def __repr__(self) -> str:
        about = [self.fields.get("id"), self._precursor_text(), self.fields.get("adduct"), counted(len(self), "peaks")]
        problem = self.fields.get("problem")
        return f"Spectrum({', '.join(str(text) for text in about if text)}{f'; problem: {problem}' if problem else ''})"

    def _repr_html_(self) -> str:
        cells = [
            f"<tr><th style='text-align:left'>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
            for name, value in self.fields.items()
        ]
        return f"<table>{''.join(cells)}<tr><th>peaks</th><td>{len(self):,}</td></tr></table>"

    def plot(self, ax: Any = None) -> Any:
        """Plot the peaks, relative to the highest one, with the precursor; returns the axes.

        ax: matplotlib axes to draw on; None creates a figure.
        """
        from trimer.results.plots import plot_spectra

        return plot_spectra([self], ax)

    def _precursor_text(self) -> str | None:
        precursor = self.fields.get("precursor_mz")
        return None if precursor is None else f"precursor m/z {precursor:.4f}"
