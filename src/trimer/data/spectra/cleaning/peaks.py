"""Steps that remove peaks. A spectrum without any peak left is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from trimer.data.spectra.cleaning.step import Cleaned, Step, WindowStep
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError


@dataclass(frozen=True)
class MzWindow(WindowStep):
    """Remove the peaks outside an m/z window; drop spectra without a peak left."""

    key: ClassVar[str] = "mz_window"
    min: float = 10.0
    max: float = 1000.0

    def reason(self) -> str:
        return f"no peak between m/z {self.min:g} and {self.max:g}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        table = table.keep_peaks((table.mz >= self.min) & (table.mz <= self.max))
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class IntensityThreshold(Step):
    """Scale each spectrum to a base peak of 1.0, then remove peaks below a fraction of it."""

    relative: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.relative < 1:
            raise ConfigError(
                f"cleaning.intensity.relative={self.relative} must be a fraction of the base peak, 0 to below 1"
            )

    def reason(self) -> str:
        return "no peak has an intensity"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        owners = table.owners
        base = np.zeros(len(table), np.float64)
        np.maximum.at(base, owners, table.intensity)
        scaled = np.divide(table.intensity, base[owners], out=np.zeros(len(owners)), where=base[owners] > 0)
        table = SpectrumTable(table.mz, scaled.astype(np.float32), table.offsets, table.columns)
        # compared in float64 before rounding, so that a peak of exactly the threshold stays
        table = table.keep_peaks((scaled > 0) & (scaled >= self.relative * (1 - 1e-6)))
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class RemovePrecursorPeak(Step):
    """Remove the peaks within `tolerance` (Th) of the precursor m/z; with `above`, also every peak above it.

    The remaining precursor depends on the collision energy, not on the structure. Do not set `above` for multiply
    charged ions: their fragments may be above the precursor.
    """

    tolerance: float = 0.5
    above: bool = False

    def reason(self) -> str:
        return "no peak besides the precursor"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        distance = table.mz - np.nan_to_num(table["precursor_mz"], nan=-np.inf)[table.owners]
        keep = np.abs(distance) > self.tolerance
        if self.above:
            keep &= (distance < 0) | np.isinf(distance)
        table = table.keep_peaks(keep)
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class PeakCount(WindowStep):
    """Keep the `max` most intense peaks of a spectrum, and drop spectra with fewer than `min`."""

    key: ClassVar[str] = "peak_count"
    min: int = 3
    max: int = 60

    def reason(self) -> str:
        return f"fewer than {self.min} peaks"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        counts = table.peak_counts
        if np.any(counts > self.max):
            order = np.lexsort((table.mz, -table.intensity, table.owners))  # equal intensities: the lower m/z stays
            rank = np.arange(len(order)) - np.repeat(table.offsets[:-1], counts)
            keep = np.zeros(len(order), bool)
            keep[order[rank < self.max]] = True
            table = table.keep_peaks(keep)
        return table, counts >= self.min
