"""The figure of a fine-tuning: each metric by epoch, with its value before fine-tuning and on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trimer.reporting.colours import COLOURS, ORANGE
from trimer.reporting.style import panel_grid, save_figure, styled
from trimer.reporting.table import column

SHOWN = {  # split -> name, colour and mark
    "train": ("training", COLOURS["train"], None),
    "validation": ("validation", COLOURS["val"], "o"),
    "all": ("all data, before fine-tuning", ORANGE, "D"),
    "test": ("test, best weights", COLOURS["test"], "*"),
}
BEFORE = -1  # the epoch of values that were measured before fine-tuning
FAR = 1.0  # a value before fine-tuning is drawn at the edge if it lies this many ranges of the others outside of them
NO_CURVES = ("labels_seen", "masked_tokens")


def metric_curves(rows: Sequence[Mapping], path: str | Path, most: int = 12) -> Path:
    """One panel for each metric over the epochs: training, validation, and marks for before fine-tuning and the test.

    rows: of `protocol.csv`, with `property`, `split`, `epoch`, `metric` and `value`.
    """
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        points.setdefault(row["metric"], {}).setdefault(row["split"], []).append((row["epoch"], row["value"]))
    names = [name for name in points if name not in NO_CURVES and "/" not in name]
    names = sorted(names, key=lambda name: (name != "loss", name == "lr"))[:most]
    with styled():
        figure, axes = panel_grid(len(names), 3.4, 2.5, extra=0.6)
        handles: dict[str, Line2D] = {}
        for axis, name in zip(axes, names, strict=True):
            handles |= _panel(axis, name, points[name])
        if rows:
            figure.suptitle(str(rows[0]["property"]), x=0.01, ha="left", fontsize=11, fontweight="bold")
        order = [name for name, *_ in SHOWN.values() if name in handles]
        figure.legend([handles[name] for name in order], order, loc="outside lower left", ncols=4, handlelength=1.4)
        return save_figure(figure, path)


def _panel(axis: Axes, metric: str, points: Mapping[str, list[tuple[int, float]]]) -> dict[str, Line2D]:
    """Draw a metric; returns the lines for the legend, by name."""
    unit = column(metric)
    handles: dict[str, Line2D] = {}
    rest = [value * unit.scale for split, values in points.items() if split != "all" for _, value in values]
    for split, (name, colour, mark) in SHOWN.items():
        if split not in points:
            continue
        epochs, values = np.array(sorted(points[split])).T
        values = values * unit.scale
        if split in ("train", "validation"):
            size = 3 if len(epochs) <= 60 else 0
            (handles[name],) = axis.plot(epochs, values, color=colour, marker=mark, ms=size, linewidth=1.6, label=name)
        else:
            size = 11 if mark == "*" else 6
            style: dict[str, Any] = {
                "color": colour,
                "marker": mark,
                "ms": size,
                "linestyle": "",
                "zorder": 4,
                "clip_on": False,
            }
            beyond = split == "all" and _beyond(float(values[0]), rest)
            if beyond:
                edge = beyond * (max(rest) - min(rest) or 0.1 * abs(rest[0]) or 1.0) * 0.25
                place = (max(rest) if beyond > 0 else min(rest)) + edge
                arrow = "↑" if beyond > 0 else "↓"
                text = f"{arrow} {unit.show(values[0] / unit.scale)}"
                axis.annotate(text, (epochs[0], place), (7, -3), textcoords="offset points", fontsize=7.5)
                values = np.array([place])
            (handles[name],) = axis.plot(epochs, values, label=name, **style)
    axis.set_title("Learning rate" if metric == "lr" else unit.label)
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: "before" if epoch == BEFORE else f"{epoch:.0f}"))
    if metric == "lr":
        axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axis.set_ylim(bottom=0)
    return handles


def _beyond(value: float, rest: Sequence[float]) -> int:
    """1 or -1 if a value lies far above or below the others, 0 if it can be drawn among them."""
    if not rest:
        return 0
    room = FAR * (max(rest) - min(rest))
    return int(value > max(rest) + room) - int(value < min(rest) - room)
