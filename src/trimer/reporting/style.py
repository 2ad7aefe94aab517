"""How figures look: the style of matplotlib, grids of panels, files and charts on pages.

Nothing here opens a display or changes the global state of matplotlib.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, cast

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimer.reporting.colours import BLUE, GREEN, GREY, INK, ORANGE, SKY, SOFT, VERMILION

COLUMNS = 3  # panels in a row
GRID = "#e3e7ec"
PANEL = (3.6, 2.1)  # inches of a panel on a page
STYLE = {
    "font.family": "sans-serif", "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"], "font.size": 9,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": INK,
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.7,
    "xtick.color": SOFT, "ytick.color": SOFT, "text.color": INK, "axes.titlecolor": INK,
    "legend.frameon": False, "savefig.dpi": 170, "svg.fonttype": "none", "svg.hashsalt": "trimer",
    "path.simplify_threshold": 0.3,
    "text.parse_math": False,  # a `$` in a name is not a formula
}  # fmt: skip
# Colours that the style sheet of a page sets, so that charts are light or dark with it.
THEME = {"#ffffff": "card", INK: "ink", SOFT: "soft", GREY: "line", GRID: "grid", BLUE: "c-blue",
         VERMILION: "c-vermilion", GREEN: "c-green", SKY: "c-sky", ORANGE: "c-orange"}  # fmt: skip
NO_AXES = {"axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}

Arguments = ParamSpec("Arguments")


def styled(changes: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """The style of all figures, with changes, for as long as a figure is drawn and written."""
    return rc_context(cast(Any, {**STYLE, **(changes or {})}))


def panel_grid(
    count: int, width: float, height: float, extra: float = 0.0, columns: int = COLUMNS, make: Any = Figure
) -> tuple[Figure, list[Axes]]:
    """A figure with this many axes, row by row; width and height in inches of each, extra height of the figure.

    columns: panels in a row. make: of a figure; with `pyplot.figure`, a notebook shows it.
    """
    columns = min(columns, max(1, count))
    lines = math.ceil(count / columns) or 1
    figure = make(figsize=(width * columns, height * lines + extra), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF by its suffix; the folder is created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def page_chart(
    name: str,
    draw: Callable[Concatenate[Axes, Arguments], None],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Markup:
    """draw(axis, ...) as a chart of a page: inline SVG in the colours of the page, the same for the same content."""
    with styled({"font.size": 8, "axes.titlesize": 9}):
        figure = Figure(figsize=PANEL, layout="constrained")
        draw(figure.subplots(), *arguments, **named)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = compact(text.getvalue())
    return inline(svg, name)


def inline(svg: str, name: str) -> Markup:
    """An SVG of matplotlib as an element of a page: themed colours, unique ids, and no style of the whole page."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', body)
    body = re.sub(r"<style.*?</style>", "", body[body.index(">") + 1 : body.rindex("</svg>")], flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', body))
    prefix = "c" + hashlib.sha256(body.encode()).hexdigest()[:8]
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m.group(1)}"' if m.group(1) in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", body)
    for colour, variable in THEME.items():
        body = re.sub(colour, f"var(--{variable})", body, flags=re.IGNORECASE)
    head = f'<svg class="chart" role="img" aria-label="{escape(name)}" {box.group() if box else ""}'
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return Markup(f'{head} {links} style="stroke-linejoin:round;stroke-linecap:butt">{body}</svg>')


def compact(svg: str) -> str:
    """An SVG of matplotlib without comments, coordinates rounded to a hundredth of a point: half the size."""

    def rounded(attribute: re.Match[str]) -> str:
        return re.sub(
            r"-?\d+\.\d+", lambda number: f"{float(number.group()):.2f}".rstrip("0").rstrip("."), attribute.group()
        )

    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r' (?:d|x|y|width|height|transform)="[^"]*"', rounded, svg))
