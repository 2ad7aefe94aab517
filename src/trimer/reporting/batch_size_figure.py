"""Figure of a batch-size finder."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes

from trimer.reporting.colours import BLUE, GREY, VERMILION
from trimer.reporting.style import panel_grid, save_figure, styled


class Measured(Protocol):
    """One size: tokens per batch, tokens per second, peak memory in MB."""

    @property
    def size(self) -> int: ...
    @property
    def fits(self) -> bool: ...
    @property
    def speed(self) -> float: ...
    @property
    def memory(self) -> float | None: ...


def batch_size_figure(measured: Sequence[Measured], limit: float | None, path: Path) -> Path:
    """Speed and peak memory over the size of a batch; sizes that do not fit are crosses. limit: in MB."""
    fitting = [m for m in measured if m.fits]
    sizes = [m.size for m in fitting]
    with styled():
        figure, (left, right) = panel_grid(2, 3.8, 3.0)
        left.plot(sizes, [m.speed for m in fitting], color=BLUE, marker="o", ms=4)
        _name(left, measured, "Speed", "tokens per second")
        right.plot(sizes, [(m.memory or 0) / 1e3 for m in fitting], color=BLUE, marker="o", ms=4)
        if limit is not None:
            right.axhline(limit / 1e3, color=GREY, linestyle="--", linewidth=1.2, label="limit")
            right.legend(loc="best")
        _name(right, measured, "Memory", "peak (GB)")
        return save_figure(figure, path)


def _name(axis: Axes, measured: Sequence[Measured], title: str, unit: str) -> None:
    """Title and axes of a panel, and a cross at each size that does not fit."""
    axis.set_ylim(bottom=0)
    too_large = [m.size for m in measured if not m.fits]
    if too_large:
        across = axis.get_xaxis_transform()
        axis.plot(too_large, [0.04] * len(too_large), "x", color=VERMILION, transform=across, label="does not fit")
        axis.legend(loc="best")
    axis.set_xscale("log", base=2)
    doubled = [m.size for m in measured if log2(m.size / measured[0].size).is_integer()]  # those between would overlap
    axis.set_xticks(doubled, [f"{size:,}" for size in doubled], rotation=45)
    axis.minorticks_off()
    axis.set(title=title, xlabel="tokens per batch", ylabel=unit)
