"""What every drawing of a spectrum shows: relative intensities, the precursor, and the peaks that get a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PRECURSOR_WINDOW = 0.5  # Th around the precursor m/z within which a peak is that of the precursor


@dataclass(frozen=True)
class RelativeSpectrum:
    """(m/z, intensity relative to the highest) of peaks above 0; precursor: its m/z in Th, None where unknown."""

    peaks: list[tuple[float, float]]
    precursor: float | None

    @classmethod
    def of(cls, mz: Sequence[float], intensity: Sequence[float], precursor: float | None) -> RelativeSpectrum:
        known = precursor is not None and math.isfinite(precursor) and precursor > 0
        base = max(intensity, default=0.0)
        peaks = [(float(m), float(i / base)) for m, i in zip(mz, intensity, strict=True) if i > 0]
        return cls(peaks, float(precursor) if known and precursor is not None else None)

    @property
    def limits(self) -> tuple[float, float] | None:
        """The range of m/z to draw, with a margin; None where there is nothing to draw."""
        drawn = [m for m, _ in self.peaks] + ([] if self.precursor is None else [self.precursor])
        if not drawn:
            return None
        margin = 0.06 * max(max(drawn) - min(drawn), 20)
        return max(0.0, min(drawn) - margin), max(drawn) + margin

    def is_precursor(self, mz: float) -> bool:
        """Whether a peak is that of the precursor."""
        return self.precursor is not None and abs(mz - self.precursor) <= PRECURSOR_WINDOW


def place_labels(
    tips: Sequence[tuple[float, float]], half_widths: Sequence[float], line: float, least: float = 0.0
) -> list[int]:
    """Which peaks get a label above their tip, the highest first: over no higher peak and over no other label.

    tips: position and height of each peak. half_widths: of their labels, in units of the position; line: the height of
    a label; least: lower peaks get none.
    """
    chosen: list[int] = []
    for index in sorted(range(len(tips)), key=lambda index: -tips[index][1]):
        (x, height), half = tips[index], half_widths[index]
        if height < least:
            break
        crossed = any(abs(other - x) < half and high > height for other, high in tips)
        touched = any(
            abs(tips[other][0] - x) < half + half_widths[other] and abs(tips[other][1] - height) < line
            for other in chosen
        )
        if not crossed and not touched:
            chosen.append(index)
    return chosen
