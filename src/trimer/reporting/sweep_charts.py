"""Charts of many runs as inline SVG: learning curves, parallel coordinates, a setting against a metric, means of seeds.

Every mark of a run has its number as `data-run` and a colour class (`colour_keys`), by which the script of the page
(`templates/sweep.js`) colours, highlights and hides runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup, escape

from trimer.counts import counted
from trimer.reporting.curves import Curve
from trimer.reporting.spectrum_svg import Plot, ticks

SIZE = (480, 270)  # pixels of a panel
MARGINS = (58, 12, 12, 38)  # left, right, above, below
LONG_SCALE = 10.0  # largest by smallest value from which a setting of positive numbers has a logarithmic axis
SHADES = 5  # classes of numbers, and colours of texts; further texts share a grey
FAR = 3.0  # values that are this many times the range of the others away from them are cut off
CENTRE = (0.03, 0.97)  # quantiles of the values that are never cut off
TEXTS = 12  # different texts on an axis, above which the others are one
LETTERS = 18  # of a text on an axis
ROW_LETTERS = 46  # of the label of a row


def number(text: str | None) -> float:
    """The number in a text, NaN if it holds none."""
    try:
        return float(text) if text not in (None, "") else math.nan
    except ValueError:
        return math.nan


def limits(values: Sequence[float]) -> tuple[float, float]:
    """The range of the finite values; single ones that are far away from all others are left outside."""
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return 0.0, 1.0
    low, high = (known[round(share * (len(known) - 1))] for share in CENTRE)
    room = FAR * (high - low)
    kept = [value for value in known if low - room <= value <= high + room] if room else known
    low, high = min(kept), max(kept)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


@dataclass
class Axis:
    """The values of one setting or metric of all runs, and where they lie between 0 (low) and 1 (high).

    labels: position -> text. positions: of each run, NaN if it has no value, outside of 0 to 1 if it is cut off.
    """

    name: str
    labels: dict[float, str]
    positions: list[float]
    numbers: bool

    @classmethod
    def of_texts(cls, name: str, texts: Sequence[str]) -> Axis:
        """A setting: a logarithmic or linear axis of numbers, or its different texts in their order."""
        values = [number(text) for text in texts]
        if all(math.isfinite(value) for value, text in zip(values, texts, strict=True) if text):
            return cls.of_numbers(name, values, whole=True)
        different = sorted(set(texts) - {""})
        shown = different if len(different) <= TEXTS else [*different[: TEXTS - 1], "others"]
        place = {text: (min(i, TEXTS - 1) + 0.5) / len(shown) for i, text in enumerate(different)}
        labels = {(i + 0.5) / len(shown): shortened(text) for i, text in enumerate(shown)}
        return cls(name, labels, [place.get(text, math.nan) for text in texts], False)

    @classmethod
    def of_numbers(cls, name: str, values: Sequence[float], whole: bool = False) -> Axis:
        """whole: every value is shown and labelled where there are few, on a logarithmic axis where they span much."""
        known = sorted({value for value in values if math.isfinite(value)})
        positive = bool(known) and known[0] > 0 and known[-1] / known[0] >= LONG_SCALE
        scaled = [math.log10(v) if v > 0 else math.nan for v in values] if whole and positive else list(values)
        if whole and known:
            low, high = (math.log10(v) if positive else v for v in (known[0], known[-1]))
            margin = 0.06 * (high - low) or 0.5
            low, high = low - margin, high + margin
        else:
            low, high = limits(values)
        if whole and len(known) <= SHADES:
            marks = known
        elif whole and positive:
            marks = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in (1, 3)]
        else:
            marks = ticks(low, high)
        places = {(math.log10(mark) if whole and positive else mark): f"{mark:.4g}" for mark in marks}
        labels = {(at - low) / (high - low): text for at, text in places.items() if low <= at <= high}
        return cls(name, labels, [(v - low) / (high - low) for v in scaled], True)


@dataclass
class Colours:
    """The colour class of each run by one setting or metric, and what the classes mean."""

    name: str
    classes: list[str]
    legend: list[tuple[str, str]]

    UNKNOWN: ClassVar[str] = "k-none"

    @classmethod
    def of(cls, name: str, texts: Sequence[str], show: Mapping[float, str] | None = None) -> Colours:
        """texts: of each run, "" if it has none. Numbers get shades of equal counts, texts a colour each."""
        values = [number(text) for text in texts]
        known = sorted({value for value in values if math.isfinite(value)})
        if len(known) > 1 and all(math.isfinite(v) for v, text in zip(values, texts, strict=True) if text):
            steps = min(SHADES, len(known))
            edges = [known[len(known) * i // steps] for i in range(steps)]
            spread = [round(i * (SHADES - 1) / (steps - 1)) for i in range(steps)]
            of_value = {v: max(i for i, edge in enumerate(edges) if v >= edge) for v in known}
            groups = [[v for v in known if of_value[v] == i] for i in range(steps)]
            legend = [(f"s{spread[i]}", _span(group, show or {})) for i, group in enumerate(groups)]
            return cls(name, [f"s{spread[of_value[v]]}" if v in of_value else cls.UNKNOWN for v in values], legend)
        counts = {text: texts.count(text) for text in texts if text}
        ordered = sorted(counts, key=lambda text: (-counts[text], text))
        of_text = {text: f"k{i}" if i < SHADES else cls.UNKNOWN for i, text in enumerate(ordered)}
        legend = [(of_text[text], shortened(text, 40)) for text in ordered[:SHADES]]
        if len(ordered) > SHADES or len(counts) < len(set(texts)):
            legend.append((cls.UNKNOWN, "others"))
        return cls(name, [of_text.get(text, cls.UNKNOWN) for text in texts], legend)


def _span(group: Sequence[float], show: Mapping[float, str]) -> str:
    low, high = (show.get(value, f"{value:.4g}") for value in (group[0], group[-1]))
    return low if len(group) == 1 or low == high else f"{low} to {high}"


def shortened(text: str, letters: int = LETTERS) -> str:
    """The text with at most this many letters."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def panel(xs: tuple[float, float], ys: tuple[float, float]) -> Plot:
    """A plot with an inner window, outside of which lines are cut off."""
    return Plot(*SIZE, xs, ys, MARGINS)


def axes(plot: Plot, across: Mapping[float, str], up: Mapping[float, str], name: str) -> None:
    """Grid lines and labels at data values, and the name of the horizontal axis."""
    for value, label in up.items():
        plot.path(f"M{plot.left} {plot.y(value)}H{plot.right}", kind="grid")
        plot.text(plot.left - 6, plot.y(value) + 4, label, anchor="end")
    plot.path(f"M{plot.left} {plot.bottom}H{plot.right}", kind="axis")
    for value, label in across.items():
        plot.path(f"M{plot.x(value)} {plot.bottom}v4", kind="axis")
        plot.text(plot.x(value), plot.bottom + 16, label)
    plot.text((plot.left + plot.right) / 2, plot.height - 3, name, "tick name")


def curve_chart(title: str, curves: Mapping[int, Curve], classes: Sequence[str], digits: float = 1.0) -> Markup:
    """One metric over the optimizer steps: a line for each run. curves: number of the run -> its curve.

    digits: factor of the values, 100 for fractions in percent.
    """
    values = [value * digits for curve in curves.values() for value in curve.values]
    low, high = limits(values)
    last = max((curve.steps[-1] for curve in curves.values() if curve.steps), default=1)
    plot = panel((0, last), (low, high))
    axes(plot, {s: steps_text(s) for s in ticks(0, last)}, {v: f"{v:.4g}" for v in ticks(low, high)}, "optimizer step")
    window = f'<svg x="{plot.left}" y="{plot.top}" width="{plot.right - plot.left}" '
    window += f'height="{plot.bottom - plot.top}" viewBox="{plot.left} {plot.top} {plot.right - plot.left} '
    window += f'{plot.bottom - plot.top}">'
    plot.parts.append(window)
    for run, curve in curves.items():
        points = [(plot.x(step), plot.y(value * digits)) for step, value in zip(curve.steps, curve.values, strict=True)]
        # Far points are moved to just outside of the window, so that numbers stay short.
        points = [(x, min(max(y, plot.top - 50.0), plot.bottom + 50.0)) for x, y in points]
        d = "M" + "L".join(f"{x:g} {y:g}" for x, y in points) + ("h.1" if len(points) == 1 else "")
        plot.parts.append(f'<path class="run {classes[run]}" data-run="{run}" d="{d}"/>')
    plot.parts.append("</svg>")
    return plot.svg(f"{title}: {counted(len(curves), 'runs')}", "runs")


def steps_text(step: float) -> str:
    """`20k` of 20000."""
    return f"{step / 1000:g}k" if step >= 10_000 else f"{step:g}"


def parallel_chart(shown: Sequence[Axis], classes: Sequence[str]) -> Markup:
    """Parallel coordinates: a vertical axis for each setting and metric, a line through its values for each run."""
    width, height = 1120, 330
    plot = Plot(width, height, (0, max(1, len(shown) - 1)), (0, 1), (70, 84, 44, 16))
    for run in range(len(classes)):
        pieces, open_ = [], False
        for place, axis in enumerate(shown):
            at = axis.positions[run]
            if math.isfinite(at):
                y = plot.y(min(max(at, -0.03), 1.03))
                pieces.append(f"{'L' if open_ else 'M'}{plot.x(place):g} {y:g}")
            open_ = math.isfinite(at)
        if pieces:
            plot.parts.append(f'<path class="run {classes[run]}" data-run="{run}" d="{"".join(pieces)}"/>')
    for place, axis in enumerate(shown):
        x = plot.x(place)
        plot.path(f"M{x} {plot.top}V{plot.bottom}", kind="axis")
        anchor = "start" if place == 0 else "end" if place == len(shown) - 1 else "middle"
        shift = -60 if place == 0 else 78 if place == len(shown) - 1 else 0
        plot.text(x + shift, 16 + 14 * (place % 2), shortened(axis.name, 26), "tick name", anchor)
        for at, label in axis.labels.items():
            plot.path(f"M{x - 3:g} {plot.y(at)}h6", kind="axis")
            left = place < len(shown) - 1
            plot.text(x + (-7 if left else 7), plot.y(at) + 4, label, "tick value", "end" if left else "start")
        plot.parts.append(
            f'<rect class="brush" data-axis="{place}" x="{x - 14:g}" y="{plot.top}" width="28" '
            f'height="{plot.bottom - plot.top}"><title>{escape(axis.name)}</title></rect>'
        )
    return plot.svg(
        f"parallel coordinates of {counted(len(classes), 'runs')}", "runs parallel", top=plot.top, bottom=plot.bottom
    )


def setting_chart(across: Axis, up: Axis, classes: Sequence[str]) -> Markup:
    """One metric against one setting: a dot for each run."""
    plot = panel((-0.02, 1.02), (0, 1))
    axes(plot, across.labels, up.labels, across.name)
    crowd: dict[tuple, int] = {}
    for run, (x, y) in enumerate(zip(across.positions, up.positions, strict=True)):
        if math.isfinite(x) and math.isfinite(y):
            inside = min(max(y, 0.0), 1.0)
            # Dots of one setting that would cover each other stand side by side.
            number_here = crowd.get((x, round(inside, 2)), 0)
            crowd[x, round(inside, 2)] = number_here + 1
            shift = (number_here + 1) // 2 * (3 if number_here % 2 else -3)
            plot.parts.append(
                f'<circle class="dot {classes[run]}" data-run="{run}" r="4" cx="{plot.x(x) + shift:g}" '
                f'cy="{plot.y(inside):g}"/>'
            )
    return plot.svg(f"{up.name} against {across.name}", "runs")


@dataclass
class Row:
    """A line of the chart of means: its label, mean, interval (None for one seed), and the value of each run."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    values: dict[int, float]


def interval_chart(name: str, rows: Sequence[Row], classes: Sequence[str], lines: Mapping[str, float]) -> Markup:
    """Means with their intervals, one row each, above the values of the single seeds. lines: baselines by name."""
    ends = [end for row in rows for end in (*(row.interval or ()), row.mean, *row.values.values())]
    low, high = limits([*ends, *lines.values()])
    height = 26 * len(rows) + 66
    labels = [shortened(row.label, ROW_LETTERS) for row in rows]
    margin = max(90, min(300, 30 + 6 * max(map(len, labels), default=0)))
    plot = Plot(1120, height, (low, high), (len(rows) - 0.5, -0.5), (margin, 20, 22, 40))
    axes(plot, {value: f"{value:.4g}" for value in ticks(low, high, 8)}, {}, name)
    for text, value in lines.items():
        plot.path(f"M{plot.x(value)} {plot.top - 4}V{plot.bottom}", text, kind="baseline-line")
    if lines:
        best_at = plot.x(next(iter(lines.values())))
        anchor = "end" if best_at > 800 else "start"
        plot.text(best_at, plot.top - 8, shortened(next(iter(lines)), 60), "tick", anchor)
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = plot.y(place)
        plot.text(plot.left - 10, y + 4, label, "tick value", "end")
        plot.path(f"M{plot.left} {y}H{plot.right}", kind="grid")
        for run, value in row.values.items():
            dot = f'r="4" cx="{plot.x(min(max(value, low), high)):g}" cy="{y:g}"'
            plot.parts.append(f'<circle class="dot seed {classes[run]}" data-run="{run}" {dot}/>')
        if row.interval is not None:
            left, right = (plot.x(min(max(end, low), high)) for end in row.interval)
            plot.path(f"M{left} {y}H{right}", kind="interval")
        x = plot.x(min(max(row.mean, low), high))
        plot.path(f"M{x} {y - 7}v14", kind="mean")
    return plot.svg(f"means of {name}", "runs means")
