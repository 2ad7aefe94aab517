"""Small charts as inline SVG: a spectrum as sticks, curves over steps, a distribution. No library, no script.

Colours are those of Okabe and Ito, which stay apart for the colour-blind; the classes are styled by page.css.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from trimer.reporting.curves import Curve

BLUE, VERMILION, GREEN, GREY, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#8b95a1", "#56B4E9", "#E69F00"
COLOURS = {"train": GREY, "val": BLUE, "test": VERMILION}
SERIES = (BLUE, ORANGE, GREEN, SKY, VERMILION)
PRECURSOR_WINDOW = 0.5  # Th around the precursor m/z: its own peak


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two bounds, roughly as many as asked for."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.8 * raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class Plot:
    """An SVG with one pair of axes: ranges in data units, margins and size in pixels."""

    def __init__(
        self, width: int, height: int, xs: tuple[float, float], ys: tuple[float, float], margins=(46, 14, 26, 34)
    ):
        self.width, self.height, self.xs, self.ys = width, height, xs, ys
        self.left, right, self.top, bottom = margins
        self.right, self.bottom = width - right, height - bottom
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        share = (value - self.xs[0]) / ((self.xs[1] - self.xs[0]) or 1)
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        share = (value - self.ys[0]) / ((self.ys[1] - self.ys[0]) or 1)
        return round(self.bottom - share * (self.bottom - self.top), 1)

    def path(self, d: str, title: str = "", **attributes: str | float) -> None:
        """A path; attributes in snake case, `kind` is its class."""
        self.parts.append(
            f"<path{_attributes(d=d, **attributes)}" + (f"><title>{title}</title></path>" if title else "/>")
        )

    def text(
        self, x: float, y: float, text: str, kind: str = "tick", anchor: str = "middle", **attributes: str
    ) -> None:
        at = _attributes(kind=kind, x=round(x, 1), y=round(y, 1), text_anchor=anchor, **attributes)
        self.parts.append(f"<text{at}>{escape(text)}</text>")

    def scale(self, across: Mapping[float, str], up: Mapping[float, str], name: str) -> None:
        """The axes: grid lines and labels of the values going up, labels of the values across and their name."""
        for value, label in up.items():
            if value > self.ys[0]:
                self.path(f"M{self.left} {self.y(value)}H{self.right}", kind="grid")
            self.text(self.left - 6, self.y(value) + 3, label, anchor="end")
        self.path(f"M{self.left} {self.bottom}H{self.right}", kind="axis")
        for value, label in across.items():
            self.path(f"M{self.x(value)} {self.bottom}v4", kind="axis")
            self.text(self.x(value), self.bottom + 15, label)
        self.text(self.right, self.height - 3, name, anchor="end", font_style="italic")

    def svg(self, title: str) -> str:
        head = f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img"'
        body = "".join(self.parts)
        return f'{head} xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{body}</svg>'


def spectrum_svg(
    mz: Sequence[float],
    intensity: Sequence[float],
    precursor_mz: float | None = None,
    width: int = 500,
    height: int = 220,
    labels: int = 7,
) -> str:
    """A spectrum as sticks of relative intensity; the precursor is marked, the strongest peaks carry their m/z."""
    known = precursor_mz is not None and math.isfinite(precursor_mz) and precursor_mz > 0
    base = max(intensity, default=0.0)
    peaks = [(float(m), float(i / base)) for m, i in zip(mz, intensity, strict=True) if i > 0]
    spots = [m for m, _ in peaks] + ([float(precursor_mz)] if known else [])
    if not spots:
        return '<svg class="chart" viewBox="0 0 500 60"><text x="8" y="34" class="tick">no peaks</text></svg>'
    span = max(max(spots) - min(spots), 20)
    xs = max(0.0, min(spots) - 0.06 * span), max(spots) + 0.06 * span
    plot = Plot(width, height, xs, (0, 1), (40, 8, 36, 32))
    plot.scale({v: f"{v:g}" for v in ticks(*xs, 6)}, {0: "0", 0.5: "50", 1: "100 %"}, "m/z")
    tip = plot.x(precursor_mz) if known else 0.0
    if known:
        plot.path(f"M{tip} {plot.top - 16}V{plot.bottom}", kind="precursor-line")
    for m, share in sorted(peaks, key=lambda peak: peak[1]):
        own = known and abs(m - precursor_mz) <= PRECURSOR_WINDOW
        stick = f"M{plot.x(m)} {plot.bottom}V{plot.y(share)}"
        plot.path(stick, f"m/z {m:.4f}, {share:.1%}", kind="precursor" if own else "stick")
    if known:
        plot.path(f"M{tip - 4:.1f} {plot.top - 24}h8l-4 7z", kind="marker")
        side, shift = ("end", -8) if tip > width * 0.6 else ("start", 8)
        plot.text(tip + shift, plot.top - 17, f"precursor {precursor_mz:.4f}", "marked", side)
    _label_peaks(plot, peaks, precursor_mz if known else None, labels)
    return plot.svg(f"{len(peaks)} peaks")


def _label_peaks(plot: Plot, peaks: list[tuple[float, float]], precursor_mz: float | None, most: int) -> None:
    """m/z over the strongest peaks, as long as no label runs into another, into a higher stick or off the chart."""
    half, line = 19, 10  # pixels: half a label's width, its height
    boxes: list[tuple[float, float, float, float]] = []
    if precursor_mz is not None:
        tip = plot.x(precursor_mz)
        boxes.append((tip - 2, tip + 2, plot.top - 16, plot.bottom))
    taken = len(boxes) + most
    for m, share in sorted(peaks, key=lambda peak: -peak[1])[: 3 * most]:
        if len(boxes) == taken or share < 0.03:
            break
        if precursor_mz is not None and abs(m - precursor_mz) <= PRECURSOR_WINDOW:
            continue
        centre, foot = min(max(plot.x(m), half), plot.width - half), plot.y(share) - 3
        box = (centre - half, centre + half, foot - line, foot)
        crossed = any(abs(plot.x(other) - centre) < half and plot.y(high) < foot for other, high in peaks if other != m)
        if crossed or any(_overlap(box, other) for other in boxes):
            continue
        boxes.append(box)
        plot.text(centre, foot, f"{m:.3f}", "peak")


def _overlap(one: tuple, other: tuple) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def curves_svg(title: str, series: Mapping[str, Curve], width: int = 360, height: int = 210) -> str:
    """Curves of one metric over steps: training thin and smoothed, validation with its points."""
    shown = {name: curve.smoothed() if name == "train" else curve for name, curve in series.items()}
    values = [value for curve in shown.values() for value in curve.values]
    steps = [step for curve in shown.values() for step in curve.steps]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = (0.0 if 0 <= low < 0.35 * high else low - room), high + room
    plot = Plot(width, height, (min(steps), max(steps)), (low, high))
    thousands = max(steps) >= 10_000
    across = {s: f"{s / 1000:g}k" if thousands and s else f"{s:g}" for s in ticks(min(steps), max(steps), 4)}
    plot.scale(across, {v: f"{v:g}" for v in ticks(low, high, 4)}, "step")
    plot.text(plot.left, 14, title, "chart-title", "start")
    label = plot.right
    for name, curve in reversed(shown.items()):
        colour = COLOURS.get(name, BLUE)
        points = [(plot.x(s), plot.y(v)) for s, v in zip(curve.steps, curve.values, strict=True)]
        line = "M" + "L".join(f"{x} {y}" for x, y in points)
        plot.path(line, kind="curve", stroke=colour, stroke_width=1.2 if name == "train" else 2)
        if name != "train" and len(points) <= 60:
            for (x, y), step, value in zip(points, curve.steps, curve.values, strict=True):
                plot.path(f"M{x} {y}h0", f"step {step}: {value:.4g}", kind="point", stroke=colour)
        plot.text(label, 14, name, "legend", "end", fill=colour)
        label -= 7 * len(name) + 12
    return plot.svg(title)


def histogram_svg(
    title: str, groups: Mapping[str, Sequence[float]], width: int = 540, height: int = 250, bins: int = 25
) -> str:
    """Shares of Tanimoto similarities in steps of 1/bins, one outline per group, each with its mean."""
    shares: dict[str, list[float]] = {}
    for name, values in groups.items():
        counts = [0] * bins
        for value in values:
            counts[min(bins - 1, max(0, int(value * bins + 1e-9)))] += 1
        shares[name] = [count / max(1, len(values)) for count in counts]
    high = 1.08 * max((max(own) for own in shares.values()), default=0) or 1.0
    plot = Plot(width, height, (0, 1), (0, high))
    across = {v: f"{v:g}" for v in (0, 0.2, 0.4, 0.6, 0.8, 1)}
    plot.scale(across, {v: f"{v * 100:g} %" for v in ticks(0, high, 4)}, "Tanimoto similarity")
    plot.text(plot.left, 14, title, "chart-title", "start")
    for row, (name, own) in enumerate(shares.items()):
        colour = SERIES[row % len(SERIES)]
        stairs = "".join(f"V{plot.y(share)}H{plot.x((i + 1) / bins)}" for i, share in enumerate(own))
        outline = f"M{plot.left} {plot.bottom}{stairs}V{plot.bottom}"
        plot.path(outline, fill=colour, fill_opacity=0.13, stroke=colour, stroke_width=1.5)
        mean = sum(groups[name]) / max(1, len(groups[name]))
        plot.path(f"M{plot.x(mean)} {plot.bottom}V{plot.top}", kind="mean", stroke=colour)
        plot.text(plot.right, plot.top + 12 + 16 * row, f"{name}, mean {mean:.3f}", "legend", "end", fill=colour)
    return plot.svg(title)


def _attributes(**given: str | float) -> str:
    named = {"class" if key == "kind" else key.replace("_", "-"): value for key, value in given.items()}
    return "".join(f' {key}="{value}"' for key, value in named.items())
