"""A spectrum on a page: sticks as inline SVG with m/z, intensity and annotation of each peak as its tooltip.

The style sheet of the page gives the colours, and its script (`templates/spectra.js`) reads the peaks from the tooltips
to zoom and to label them anew. In files (`figures.spectra_grid`) matplotlib draws spectra, beside molecules.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from trimer.counts import counted
from trimer.reporting.labelled_peaks import RelativeSpectrum, place_labels

HALF_LABEL, LABEL_HEIGHT = 23, 12  # pixels of the label of a peak: half its width, its height
MARGINS = (46, 10, 38, 36)  # pixels left, right, above and below a spectrum, as in templates/spectra.js
ABOVE = 52  # pixels above a spectrum with annotations, whose labels may have two lines
LETTER = 3.4  # pixels, half the width of a letter of an annotation
INTENSITY = "relative intensity (%)"
LABELLED = 0.03  # of the highest peak; lower peaks get no label


@dataclass(frozen=True)
class Annotation:
    """What a peak is: its name, a second line such as its mass error, and its class in the style sheet."""

    name: str
    detail: str = ""
    kind: str = "explained"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between two bounds, about as many as asked for."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.8 * raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class Plot:
    """An SVG with one pair of axes: ranges in data units, size and margins (left, right, top, bottom) in pixels."""

    def __init__(
        self,
        width: int,
        height: int,
        xs: tuple[float, float],
        ys: tuple[float, float],
        margins: tuple[int, int, int, int],
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

    def scale(self, across: Mapping[float, str], up: Mapping[float, str], name: str, up_name: str) -> None:
        """The axes: labels of the values and the names of both; grid lines of the values up."""
        for value, label in up.items():
            if value != 0:
                self.path(f"M{self.left} {self.y(value)}H{self.right}", kind="grid")
            self.text(self.left - 6, self.y(value) + 4, label, anchor="end")
        middle = f"translate(11 {(self.top + self.bottom) / 2:g}) rotate(-90)"
        self.text(0, 0, up_name, "tick name", transform=middle)
        self.path(f"M{self.left} {self.y(0)}H{self.right}", kind="axis")
        for value, label in across.items():
            self.path(f"M{self.x(value)} {self.bottom}v4", kind="axis")
            self.text(self.x(value), self.bottom + 16, label)
        self.text(self.right, self.height - 3, name, "tick name", anchor="end")

    def svg(self, title: str, kind: str, **data: str | float) -> Markup:
        """The drawing with the classes `chart` and `kind`; data: its `data-` attributes, in data units."""
        named = {f"data-{key}": value for key, value in data.items()}
        head = f'<svg class="chart {kind}"{_attributes(**named)} viewBox="0 0 {self.width} {self.height}" role="img"'
        body = "".join(self.parts)
        return Markup(f'{head} xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{body}</svg>')


def spectrum_svg(
    mz: Sequence[float],
    intensity: Sequence[float],
    precursor_mz: float | None = None,
    width: int = 500,
    height: int = 230,
    labels: int = 7,
    annotations: Mapping[float, Annotation] | None = None,
) -> Markup:
    """A spectrum as sticks of relative intensity; the precursor is marked, the highest peaks are labelled by m/z.

    annotations: m/z of a peak -> its label in the place of the m/z, in two lines, and its colour.
    """
    spectrum = RelativeSpectrum.of(mz, intensity, precursor_mz)
    limits = spectrum.limits
    if limits is None:
        return Markup('<svg class="chart" viewBox="0 0 500 60"><text x="8" y="34" class="tick">no peaks</text></svg>')
    left, right, above, below = MARGINS
    plot = Plot(width, height, limits, (0, 1), (left, right, above if annotations is None else ABOVE, below))
    plot.scale({v: f"{v:g}" for v in ticks(*limits, 6)}, {0: "0", 0.5: "50", 1: "100"}, "m/z (Th)", INTENSITY)
    if spectrum.precursor is not None:
        tip = plot.x(spectrum.precursor)
        plot.path(f"M{tip} {plot.top - 16}V{plot.bottom}", kind="precursor-line")
    for m, share in sorted(spectrum.peaks, key=lambda peak: peak[1]):
        stick = f"M{plot.x(m)} {plot.bottom}V{plot.y(share)}"
        kind, note = "precursor" if spectrum.is_precursor(m) else "stick", (annotations or {}).get(m)
        if note is not None:
            kind += f" {note.kind}"
        title = f"m/z {m:.4f} Th, {share:.1%}" + (f", {escape(note.name)} {escape(note.detail)}" if note else "")
        plot.path(stick, title.rstrip(), kind=kind)
    if spectrum.precursor is not None:
        plot.path(f"M{tip - 4:.1f} {plot.top - 24}h8l-4 7z", kind="marker")
        anchor, shift = ("end", -8) if tip > width * 0.6 else ("start", 8)
        plot.text(tip + shift, plot.top - 17, f"precursor {spectrum.precursor:.4f}", "marked", anchor)
    _label_peaks(plot, spectrum, labels, annotations or {})
    known = {} if spectrum.precursor is None else {"precursor": spectrum.precursor}
    range_ = {"low": round(limits[0], 4), "high": round(limits[1], 4)}
    title = counted(len(spectrum.peaks), "peaks") + ("" if annotations is None else f", {len(annotations)} annotated")
    kind = "spectrum" if annotations is None else "spectrum annotated"
    return plot.svg(title, kind, up=INTENSITY, **range_, **known)


def _label_peaks(plot: Plot, spectrum: RelativeSpectrum, most: int, annotations: Mapping[float, Annotation]) -> None:
    """Labels above the highest peaks; one at the edge is moved into the chart, none lies over the precursor's line."""
    line_x = math.inf if spectrum.precursor is None else plot.x(spectrum.precursor)
    tips, texts, halves, kinds = [], [], [], []
    for mz, share in spectrum.peaks:
        note = annotations.get(mz)
        lines = [f"{mz:.3f}"] if note is None else [text for text in (note.name, note.detail) if text]
        half = HALF_LABEL if note is None else LETTER * max(map(len, lines))
        centre = min(max(plot.x(mz), half), plot.width - half)
        if abs(centre - line_x) > half + 2:
            tips.append((centre, plot.bottom - plot.y(share)))
            texts.append(lines)
            halves.append(half)
            kinds.append("peak" if note is None else f"peak {note.kind}-name")
    least = LABELLED * (plot.bottom - plot.top)
    line = LABEL_HEIGHT * (2 if annotations else 1)
    for index in place_labels(tips, halves, line, least)[:most]:
        for above, text in enumerate(reversed(texts[index])):
            plot.text(tips[index][0], plot.bottom - tips[index][1] - 3 - above * LABEL_HEIGHT, text, kinds[index])


def _attributes(**values: str | float) -> str:
    named = {"class" if key == "kind" else key.replace("_", "-"): value for key, value in values.items()}
    return "".join(f' {key}="{value}"' for key, value in named.items())


def mirror_svg(
    predicted: Sequence[tuple[float, float, str]],
    measured: Sequence[tuple[float, float, str]],
    width: int = 520,
    height: int = 260,
    labels: int = 8,
    sides: tuple[str, str] = ("predicted", "measured"),
    shared: Collection[float] = (),
) -> Markup:
    """Two spectra, one above the other: (m/z, intensity relative to the highest, label) of each peak.

    The first letter of the label of an ion, b or y, is its colour. sides: what is above and what is below. shared: m/z
    of the peaks that both have.
    """
    both = [*predicted, *measured]
    if not both:
        return Markup('<svg class="chart" viewBox="0 0 500 60"><text x="8" y="34" class="tick">no peaks</text></svg>')
    margin = 0.06 * max(max(mz for mz, *_ in both) - min(mz for mz, *_ in both), 20)
    low, high = max(0.0, min(mz for mz, *_ in both) - margin), max(mz for mz, *_ in both) + margin
    plot = Plot(width, height, (low, high), (-1.24, 1), MARGINS)  # room for labels below
    up = {-1: "100", -0.5: "50", 0: "0", 0.5: "50", 1: "100"}
    name = f"{sides[1]} | {sides[0]} (%)"
    plot.scale({v: f"{v:g}" for v in ticks(low, high, 6)}, up, "m/z (Th)", name)
    for side, peaks, sign in ((sides[0], predicted, 1), (sides[1], measured, -1)):
        for mz, share, ion in peaks:
            colour = "shared" if mz in shared else ion[:1] if ion[:1].isalpha() else ""
            kind = " ".join(filter(None, ("stick", colour, "down" if sign < 0 else "")))
            title = f"m/z {mz:.4f} Th, {share:.1%}, {side} {escape(ion)}"
            plot.path(f"M{plot.x(mz)} {plot.y(0)}V{plot.y(sign * share)}", title, kind=kind)
        tips = [(plot.x(mz), abs(plot.y(share) - plot.y(0))) for mz, share, _ in peaks]
        half = [4 * len(ion) for *_, ion in peaks]
        for index in place_labels(tips, half, LABEL_HEIGHT, LABELLED * (plot.bottom - plot.top))[:labels]:
            mz, share, ion = peaks[index]
            y = plot.y(sign * share) + (-4 if sign > 0 else LABEL_HEIGHT)
            plot.text(plot.x(mz), y, ion, f"peak {ion[:1]}-name" if ion[:1].isalpha() else "peak")
    data: dict[str, str | float] = {"low": round(low, 4), "high": round(high, 4), "up": name}
    return plot.svg(f"{len(predicted)} {sides[0]} and {len(measured)} {sides[1]} peaks", "spectrum mirror", **data)
