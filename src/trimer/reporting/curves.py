"""Training curves: the metrics that a run logged, read from its metrics.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trimer.errors import InputError

SPLITS = ("train", "val", "test")
# Metrics with a panel, in order.
PANELS = ("loss", "token_accuracy", "tanimoto@1", "tanimoto@10", "top10_accuracy", "formula_match@10", "validity",
          "perplexity", "accuracy", "balanced_accuracy", "mcc", "auroc", "rmse", "r2")  # fmt: skip
RATE, PLANNED = "lr", "planned lr"  # learning rate, and as it was planned (`schedule.csv`)
_NOT_CURVES = {"step", "epoch", "time"}


@dataclass
class Curve:
    """Values of one metric at the optimizer steps at which it was logged, ascending."""

    steps: list[int]
    values: list[float]

    def scaled(self, factor: float) -> Curve:
        """The same curve in another unit."""
        return Curve(self.steps, [value * factor for value in self.values])

    def thinned(self, points: int) -> Curve:
        """At most this many points of the curve, evenly spaced, with the first and the last."""
        count = len(self.steps)
        if count <= points:
            return self
        kept = [round(i * (count - 1) / (points - 1)) for i in range(points)]
        return Curve([self.steps[i] for i in kept], [self.values[i] for i in kept])

    def smoothed(self, points: int = 40) -> Curve:
        """A running mean over a window of 1/points of the curve; short curves stay as they are."""
        window = len(self.values) // points
        if window < 2:
            return self
        sums = [0.0]
        for value in self.values:
            sums.append(sums[-1] + value)
        half = window // 2
        spans = [(max(0, i - half), min(len(self.values), i + half + 1)) for i in range(len(self.values))]
        return Curve(self.steps, [(sums[b] - sums[a]) / (b - a) for a, b in spans])


def read_curves(path: str | Path) -> dict[str, Curve]:
    """{name: curve} of a metrics.csv with a `step` column; empty cells and values that are not finite are left out."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            names, *rows = [*csv.reader(stream)] or [[]]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the metrics.csv of a run folder") from error
    if rows and "step" not in names:
        raise InputError(f"{path}: line 1 has no column 'step'; give the metrics.csv of a run folder")
    points: dict[str, dict[int, float]] = {}
    columns = [(place, name) for place, name in enumerate(names) if name and name not in _NOT_CURVES]
    for row in rows:
        step = _number(row[names.index("step")]) if row else math.nan
        for place, name in columns if math.isfinite(step) else ():
            value = _number(row[place]) if place < len(row) else math.nan
            if math.isfinite(value):
                points.setdefault(name, {})[int(step)] = value
    return {name: Curve(sorted(values), [values[step] for step in sorted(values)]) for name, values in points.items()}


def panels(curves: Mapping[str, Curve], headings: Iterable[str] = (), most: int = 6) -> dict[str, dict[str, Curve]]:
    """{metric: {"train" | "val" | "test": curve}} for the metrics in PANELS with at least two points.

    headings: further metrics, which only this kind of study has. The learning rate has a panel after them, unless it
    is constant.
    """
    logged: dict[str, dict[str, Curve]] = {}
    schedule: dict[str, dict[str, Curve]] = {}
    for name, curve in curves.items():
        split, _, metric = name.partition("/")
        if name == RATE and len(set(curve.values)) > 1:
            schedule = {RATE: {RATE: curve} | ({PLANNED: curves[PLANNED]} if PLANNED in curves else {})}
        if split in SPLITS and "/" not in metric and len(curve.values) > 1:
            logged.setdefault(metric, {})[split] = curve
    shown = [metric for metric in dict.fromkeys([*PANELS, *headings]) if metric in logged]
    return {metric: logged[metric] for metric in shown[:most]} | schedule


def one_straight_line(curves: Sequence[Curve]) -> bool:
    """Whether all curves are the same straight line, which does not distinguish the runs."""
    first = curves[0]
    if any(curve != first for curve in curves) or len(first.values) < 2:
        return False
    low, high = (first.steps[0], first.values[0]), (first.steps[-1], first.values[-1])
    slope = (high[1] - low[1]) / (high[0] - low[0])
    line = [low[1] + slope * (step - low[0]) for step in first.steps]
    room = 1e-3 * (max(first.values) - min(first.values))
    return all(abs(value - on_line) <= room for value, on_line in zip(first.values, line, strict=True))


def _number(text: str | None) -> float:
    try:
        return float(text) if text else math.nan
    except (TypeError, ValueError):
        return math.nan
