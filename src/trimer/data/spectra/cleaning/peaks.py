"""Steps that remove peaks, of all spectra at once. A spectrum left without a peak is dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trimer.data.spectra.cleaning.step import Cleaned, Step, check_window
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError


@dataclass(frozen=True)
class MzWindow(Step):
    """Remove the peaks outside the m/z window; a spectrum without a peak left is dropped."""

    min: float = 10.0
    max: float = 1000.0

    def __post_init__(self) -> None:
        check_window(self, "mz_window")

    def reason(self) -> str:
        return f"no peak between m/z {self.min:g} and {self.max:g}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        table = table.keep_peaks((table.mz >= self.min) & (table.mz <= self.max))
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class IntensityThreshold(Step):
    """Scale each spectrum to base peak 1.0, then remove the peaks below this share of it."""

    relative: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.relative < 1:
            raise ConfigError(f"cleaning.intensity.relative={self.relative} is no share of the base peak, 0 to below 1")

    def reason(self) -> str:
        return "no peak has an intensity"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        owners = table.owners
        base = np.zeros(len(table), np.float64)
        np.maximum.at(base, owners, table.intensity)
        scaled = np.divide(table.intensity, base[owners], out=np.zeros(len(owners)), where=base[owners] > 0)
        table = SpectrumTable(table.mz, scaled.astype(np.float32), table.offsets, table.columns)
        # compared in float64, before rounding: a peak of exactly one per cent stays
        table = table.keep_peaks((scaled > 0) & (scaled >= self.relative * (1 - 1e-6)))
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class RemovePrecursorPeak(Step):
    """Remove the peaks within this distance (Th) of the precursor m/z; with `above`, also every peak above it.

    What is left of the precursor says how much energy was used, not what the molecule is. Leave `above` off where
    ions carry more than one charge: their fragments may lie above the precursor.
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
class PeakCount(Step):
    """Keep the `max` most intense peaks of a spectrum, and drop spectra with fewer than `min`."""

    min: int = 3
    max: int = 60

    def __post_init__(self) -> None:
        check_window(self, "peak_count")

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
