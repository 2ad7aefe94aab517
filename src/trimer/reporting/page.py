"""The result of a study on one page: a self-contained HTML file with table, curves, spectra and molecules.

Nothing is loaded from elsewhere and nothing runs: inline SVG and one style sheet, so it can be mailed and archived.
Input is plain data; no torch is needed.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from trimer.data.core.drops import DropReport
from trimer.reporting.attempts import attempt
from trimer.reporting.charts import curves_svg, histogram_svg
from trimer.reporting.curves import Curve, panels
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.spectrum_cards import similarities, spectrum_cards
from trimer.reporting.table import HIGH, LOW, ResultTable, column

DRAWING = (150, 110)  # pixels of a molecule in a table
LONGEST = 120  # letters of a cell
HEADLINES = ("tanimoto@1", "tanimoto@10", "top10_accuracy", "formula_match@10", "validity", "perplexity")
MOLECULES = (
    "Two molecules are the same when block 1 of their InChIKeys is the same; Tanimoto is of Morgan fingerprints "
    "(radius 2, 2048 bits), the best of the first k. ± is the standard error over molecules."
)
WIDE = 1.6  # times its height: a picture that has a line for itself
FIGURES = 4  # numbers at the head of a page that has none of the headlines
_KINDS = {"baseline": "Baselines", "bound": "Bound of every look-up", "method": "This run"}


@dataclass(frozen=True)
class Detail:
    """A table of its own on the page: mappings of column -> value. drawn: the column of SMILES that are drawn."""

    title: str
    rows: Sequence[Mapping[str, object]]
    note: str = ""
    drawn: str | None = None


def write_page(
    path: str | Path,
    *,
    title: str,
    table: ResultTable,
    predictions: Sequence[Mapping],
    subtitle: str = "",
    curves: Mapping[str, Curve] | None = None,
    distributions: Mapping[str, Sequence[float]] | None = None,
    split: Mapping | None = None,
    overlap: Sequence[Mapping] = (),
    drops: DropReport | None = None,
    commands: Sequence[str] = (),
    about: Mapping[str, object] | None = None,
    note: str = MOLECULES,
    records: str = "spectra",
    pictures: Sequence[Path | None] = (),
    details: Sequence[Detail] = (),
    examples: int = 24,
) -> Path:
    """Write the page and return its path. A section that cannot be made is named on the page, and reported.

    predictions: one mapping per spectrum with `id`, `mz`, `intensity`, `precursor_mz`, `adduct`, `candidates` (mappings
    with `smiles` and perhaps `count`, or plain SMILES; best first) and, where they are known, `smiles` (the true
    molecule), `name`, `collision_energy`, `instrument_type`, `problem`. `examples` of them are shown, spaced evenly
    from the best to the worst. curves: of `read_curves`. distributions: {name: Tanimoto similarities}, by default those
    of the predictions. split: its manifest (`method` and `sizes` are shown). overlap: of `Split.overlap`.
    commands: what reproduces the run. about: versions and such. note: how the metrics are meant, under the table.
    records: what the rows of the data are. pictures: PNG files, which the page then holds; None is one
    that could not be made. details: more tables.
    """
    path = Path(path)
    similar = distributions if distributions is not None else attempt("similarities", similarities, predictions)
    sections = {
        "header": (_header, title, subtitle, table),
        "results": (_results, table, note),
        "learning": (_learning, curves or {}, similar or {}),
        "spectra": (spectrum_cards, predictions, examples),
        "figures": (_pictures, pictures),
        **{f"table {detail.title}": (_detail, detail) for detail in details if detail.rows},
        "data": (_data, split or {}, overlap, drops, records),
        "reproduction": (_reproduction, commands, about or {}),
    }
    parts = [
        _missing(name) if (part := attempt(f"{path}, section {name}", *section)) is None else part
        for name, section in sections.items()
    ]
    style = files("trimer.reporting").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>\n{style}</style></head>\n<body>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "\n".join(part for part in parts if part) + "\n</body></html>\n", encoding="utf-8")
    return path


def _missing(name: str) -> str:
    """What stands in the place of a section that could not be made; the header and the end are frames of the page."""
    after = {"header": "<main>", "reproduction": "</main>"}.get(name, "")
    return f'<p class="note">This section could not be made: {escape(name)}.</p>{after}'


def _header(title: str, subtitle: str, table: ResultTable) -> str:
    methods = [row for row in table.rows if row["kind"] == "method"]
    lead = f'<p class="lead">{escape(subtitle)}</p>' if subtitle else ""
    values = methods[-1]["values"] if methods else {}
    names = [name for name in HEADLINES if name in values] or table.columns[:FIGURES]
    figures = [_figure(name, values, table) for name in names if math.isfinite(values.get(name, math.nan))]
    return f'<header><h1>{escape(title)}</h1>{lead}<div class="figures">{"".join(figures)}</div></header><main>'


def _figure(name: str, values: Mapping[str, float], table: ResultTable) -> str:
    """One number of the run with the best baseline beside it."""
    shown = column(name)
    others = [
        (row["values"][name], row["method"])
        for row in table.rows
        if row["kind"] == "baseline" and math.isfinite(row["values"].get(name, math.nan))
    ]
    beside = ""
    if others and name != "validity":
        choose = min if shown.lower_is_better else max
        best, method = choose(reversed(others), key=lambda other: other[0])  # of equals the strongest, named last
        word = "above" if values[name] > best else "below" if values[name] < best else "equal to"
        good = "below" if shown.lower_is_better else "above"
        sign = "" if word == "equal to" else "up" if word == good else "down"
        beside = f'<span class="{sign}">{word}</span> {escape(method)}, {shown.show(best)}'
    return (
        f'<div class="figure"><div class="name">{escape(shown.label)}</div>'
        f'<div class="value">{shown.show(values[name])}</div><div class="beside">{beside}</div></div>'
    )


def _results(table: ResultTable, note: str) -> str:
    if not table.rows:
        return ""
    head = "".join(f"<th>{escape(column(name).label)}</th>" for name in table.columns)
    body, kind = [], None
    for row in table.ordered():
        if row["kind"] != kind:
            kind = row["kind"]
            body.append(f'<tr class="kind"><td colspan="{len(table.columns) + 1}">{_KINDS[kind]}</td></tr>')
        cells = "".join(
            f"<td{' class=best' if best else ''}>{_spread(text)}{_interval(name, row['values'])}</td>"
            for name, (text, best) in zip(table.columns, table.cells(row), strict=True)
        )
        body.append(f'<tr class="{kind}"><td>{escape(row["method"])}</td>{cells}</tr>')
    spectra = next((row["values"]["spectra"] for row in table.rows if "spectra" in row["values"]), None)
    count = f" on the same {spectra:,.0f} spectra" if spectra else ""
    return (
        f'<section><h2>Result</h2><p class="note">All methods{count}. {escape(note)}</p>'
        f'<div class="panel"><table><thead><tr><th>Method</th>{head}'
        f"</tr></thead><tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _spread(text: str) -> str:
    value, plus_minus, error = text.partition(" ± ")
    return f'{value} <span class="spread">± {error}</span>' if plus_minus else value


def _interval(name: str, values: Mapping[str, float]) -> str:
    low, high = values.get(name + LOW), values.get(name + HIGH)
    if low is None or high is None or low == high:
        return ""
    shown = column(name)
    return f' <span class="spread">{shown.show(low)} to {shown.show(high)}</span>'


def _pictures(paths: Sequence[Path | None]) -> str:
    boxes = "".join(attempt(f"{path} in the page", _picture, path) or "" for path in paths if path is not None)
    return f'<section><h2>Figures</h2><div class="pictures">{boxes}</div></section>' if boxes else ""


def _picture(path: Path) -> str:
    png = path.read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    wide = " wide" if width > WIDE * height else ""
    content = base64.b64encode(png).decode()
    return f'<div class="panel{wide}"><img alt="{escape(path.stem)}" src="data:image/png;base64,{content}"></div>'


def _detail(detail: Detail) -> str:
    names = list(detail.rows[0])
    kinds = {name: " class=words" if isinstance(detail.rows[0][name], str) else "" for name in names}
    head = "".join(f"<th{kinds[name]}>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td{kinds[n]}>{_cell(row[n], n == detail.drawn)}</td>" for n in names) + "</tr>"
        for row in detail.rows
    )
    note = f'<p class="note">{escape(detail.note)}</p>' if detail.note else ""
    return (
        f'<section><h2>{escape(detail.title)}</h2>{note}<div class="panel"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _cell(value: object, drawn: bool) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if math.isfinite(value) else "–"
    if drawn:
        return molecule_svg(str(value), *DRAWING)
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def _learning(curves: Mapping[str, Curve], distributions: Mapping[str, Sequence[float]]) -> str:
    charts = []
    for metric, series in panels(curves).items():
        shown = column(metric)
        charts.append(curves_svg(shown.label, {name: curve.scaled(shown.scale) for name, curve in series.items()}))
    groups = {name: [v for v in values if math.isfinite(v)] for name, values in distributions.items()}
    groups = {name: values for name, values in groups.items() if values}
    if groups:
        charts.append(histogram_svg("Similarity to the true molecule", groups, 360, 210, 20))
    boxes = "".join(f'<div class="panel">{chart}</div>' for chart in charts)
    heading = "Learning and similarity" if groups else "Learning"
    return f'<section><h2>{heading}</h2><div class="row">{boxes}</div></section>' if charts else ""


def _data(split: Mapping, overlap: Sequence[Mapping], drops: DropReport | None, records: str) -> str:
    boxes = []
    if split.get("sizes"):
        total = sum(split["sizes"].values()) or 1
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{size:,}</td><td>{size / total:.1%}</td></tr>"
            for name, size in split["sizes"].items()
        )
        what = escape(records.capitalize())
        method = f'<p class="note">Split by {escape(str(split["method"]))}.</p>' if split.get("method") else ""
        boxes.append(
            f'<div class="panel">{method}<table><thead><tr><th>Part</th><th>{what}</th><th>Share</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>{_overlap(overlap)}</div>"
        )
    if drops is not None and drops.records:
        rows = "".join(_rule(row) for row in drops.rules)
        boxes.append(
            f'<div class="panel"><p class="note">{drops.records:,} records in, {drops.left:,} left.</p>'
            '<table class="rules"><thead><tr><th>Rule</th><th>Dropped</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    return f'<section><h2>Data</h2><div class="two">{"".join(boxes)}</div></section>' if boxes else ""


def _overlap(overlap: Sequence[Mapping]) -> str:
    """How many keys of each part occur in the training part too: what a leaky split cannot hide."""
    rows = "".join(
        f"<tr><td>{escape(row['part'])}, {escape(row['key'])}</td>"
        f"<td>{row['shared_values']:,} of {row['values']:,}</td></tr>"
        for row in overlap
    )
    head = "<thead><tr><th>Also in train</th><th>Values</th></tr></thead>"
    return f'<table class="overlap">{head}<tbody>{rows}</tbody></table>' if rows else ""


def _rule(row: Mapping) -> str:
    examples = f'<div class="ids">{escape(", ".join(row["examples"][:3]))}</div>' if row["examples"] else ""
    none = "" if row["dropped"] else ' class="none"'
    return f"<tr{none}><td>{escape(row['rule'])}{examples}</td><td>{row['dropped']:,}</td></tr>"


def _reproduction(commands: Sequence[str], about: Mapping[str, object]) -> str:
    lines = "\n".join(f'<span class="prompt">$ </span>{escape(command)}' for command in commands)
    facts = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in about.items())
    boxes = f'<div class="panel"><pre>{lines}</pre></div>' if lines else ""
    boxes += f'<div class="panel" style="margin-top:12px"><dl>{facts}</dl></div>' if facts else ""
    section = f"<section><h2>Reproduce</h2>{boxes}</section>" if boxes else ""
    return f"{section}</main><footer>Written by Trimer.</footer>"
