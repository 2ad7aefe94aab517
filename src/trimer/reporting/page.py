"""The result of a study on one page: a self-contained HTML file with tables, curves, spectra and molecules.

The page loads nothing from elsewhere: images, inline SVG, one style sheet and a short script, so it can be mailed and
archived; without scripts it shows the same, unsorted. Input is plain data; torch is not needed.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from trimer.data.core.drops import DropReport
from trimer.data.core.splits import WHOLE
from trimer.files import write_text
from trimer.reporting.attempts import attempt
from trimer.reporting.curves import Curve, panels
from trimer.reporting.differences import TITLE, WORDS, Difference, compared, metrics_of, notes
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.figures import draw_curves, draw_similarities, unit_of_loss
from trimer.reporting.page_files import run_files, run_pages
from trimer.reporting.schedule_figures import draw_stopping
from trimer.reporting.spectrum_cards import similarities, spectrum_cards
from trimer.reporting.style import page_chart
from trimer.reporting.table import DIFFERENCE, ERROR, HIGH, LOW, Column, ResultTable
from trimer.reporting.templates import render
from trimer.reporting.verdicts import CERTAIN, no_shared_molecules, verdict
from trimer.stopping_rule import StoppingTrace

DRAWING = (150, 110)  # pixels of a molecule in a table
LONGEST = 120  # letters of a cell
HEADLINES = ("tanimoto@1", "tanimoto@10", "top10_accuracy", "formula_match@10", "validity", "perplexity")
SHRINK = 0.62  # pixels of a page for a pixel of a picture, so that its text is as large as that of the page
HALF = 560  # pixels of half a row; wider pictures have a row for themselves
WIDE = 1.6  # width of a picture relative to its height above which it has a row for itself
FIGURES = 4  # numbers at the head of a page that has none of the headlines
WITH_INTERVALS = 9  # columns of the result table beyond which its intervals have no room; table.csv has them
FINDABLE, PRINTED = 8, 12  # rows of a table above which it can be searched; rows on paper
# Section -> its name in the navigation.
NAVIGATION = {"results": "Result", "learning": "Training", "spectra": "Examples", "figures": "Figures", "data": "Data",
              "files": "Files", "reproduction": "Reproduce"}  # fmt: skip
KINDS = {"baseline": "Baselines", "bound": "Oracle", "method": "This run"}


@dataclass(frozen=True)
class Detail:
    """A further table on the page: mappings of column -> value. drawn: the column of SMILES that are drawn."""

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
    name: str = "",
    data: str = "",
    evaluated: str = "",
    subtitle: str = "",
    curves: Mapping[str, Curve] | None = None,
    stopping: StoppingTrace | None = None,
    distributions: Mapping[str, Sequence[float]] | None = None,
    split: Mapping | None = None,
    overlap: Sequence[Mapping] = (),
    drops: DropReport | None = None,
    commands: Sequence[str] = (),
    about: Mapping[str, object] | None = None,
    note: str = "",
    records: str = "records",
    pictures: Sequence[Path | None] = (),
    details: Sequence[Detail] = (),
    examples: int = 24,
    charts: Mapping[str, tuple] | None = None,
    further: Mapping[str, Callable[[], Markup]] | None = None,
    folder: Path | None = None,
) -> Path:
    """Write the page and return its path. A section that cannot be made is named on the page, and reported.

    title, name, data, evaluated: the task, the run, its data and the split, for the title and the heading.
    predictions: one mapping per spectrum with `id`, `mz`, `intensity`, `precursor_mz`, `adduct`, `candidates` (mappings
    with `smiles` and optionally `count`, or plain SMILES; best first) and, where they are known, `smiles` (the true
    molecule), `name`, `collision_energy`, `instrument_type`, `problem`. `examples` of them are shown, spaced evenly
    from the best to the worst. curves: of `read_curves`. stopping: what early stopping has seen. distributions: {name:
    Tanimoto similarities}, by default those of the predictions. split: its manifest (`method` and `sizes` are shown).
    overlap: of `Split.overlap`.
    commands: what reproduces the run. about: versions and such. note: how the metrics are defined, above the table.
    records: what the rows of the data are. pictures: PNG files that are embedded in the page; None is one that could
    not be made. details: further tables. charts: name -> (function that draws
    on axes, its arguments). further: further sections, before the figures. folder: of the run, for links
    to its files and pages; `evaluated` is the name of its folder of results then.
    """
    path = Path(path)
    similar = distributions if distributions is not None else attempt("similarities", similarities, predictions)
    where = "all data" if evaluated == WHOLE else evaluated and f"{evaluated} split"
    facts = [title, *(text for text in (data, where) if text)]
    no_lookup = no_shared_molecules(evaluated, overlap)
    makers: dict[str, tuple] = {
        "header": (_header, name or title, facts, subtitle, table, no_lookup),
        "results": (_results, table, note),
        "learning": (_learning, curves or {}, similar or {}, stopping, table.headings),
        "spectra": (spectrum_cards, predictions, examples),
        **{label: (make,) for label, make in (further or {}).items()},
        "figures": (_pictures, charts or {}, pictures),
        **{f"table {detail.title}": (_detail, detail) for detail in details if detail.rows},
        "data": (_data, split or {}, overlap, drops, records),
        "files": (_files, folder, evaluated),
        "reproduction": (_reproduction, commands, about or {}),
    }
    made = {label: _section(path, label, maker) for label, maker in makers.items()}
    header = made.pop("header")
    pages = (attempt("the links to other pages", run_pages, folder, evaluated) if folder is not None else []) or []
    sections = [
        {"id": _slug(label), "label": NAVIGATION.get(label, label.removeprefix("table ")), "content": content}
        for label, content in made.items()
        if content.strip()
    ]
    heading = " · ".join([name, *facts] if name else facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render("page.html", title=heading, header=header, pages=pages, sections=sections))
    return path


def _section(path: Path, name: str, maker: tuple) -> Markup:
    """A section of the page, or a note in its place where it could not be made."""
    section = attempt(f"{path}, section {name}", *maker)
    return render("missing.html", name=name) if section is None else section


def _slug(label: str) -> str:
    """The anchor of a section."""
    return re.sub(r"[^a-z0-9]+", "-", label.removeprefix("table ").lower()).strip("-")


def _header(name: str, facts: Sequence[str], subtitle: str, table: ResultTable, no_lookup: bool) -> Markup:
    methods = [row for row in table.rows if row["kind"] == "method"]
    values = methods[-1]["values"] if methods else {}
    metrics = [metric for metric in table.columns if not metric.endswith(DIFFERENCE)]
    names = [metric for metric in HEADLINES if metric in values] or metrics[:FIGURES]
    headlines: list[dict[str, Any]] = []
    for metric in names:
        if math.isfinite(values.get(metric, math.nan)):
            shown = table.column(metric)
            value, _, error = shown.show(values[metric], values.get(metric + ERROR)).partition(" ± ")
            judged = verdict(metric, methods[-1]["method"], table, no_lookup)
            headlines.append({"label": shown.label, "value": value, "error": error, "verdict": judged})
    compared = any(headline["verdict"].sign for headline in headlines)
    oracle = any(row["kind"] == "bound" for row in table.rows)
    facts = facts if name != facts[0] else facts[1:]
    content = {"headlines": headlines, "compared": compared, "certain": CERTAIN, "oracle": oracle}
    return render("header.html", name=name, facts=facts, subtitle=subtitle, **content)


def _results(table: ResultTable, note: str) -> Markup:
    if not table.rows:
        return Markup()
    kinds = [
        ({"name": kind, "label": KINDS[kind]}, [_row(row, table) for row in rows])
        for kind, rows in groupby(table.ordered(), key=lambda row: row["kind"])
    ]
    spectra = next((row["values"]["spectra"] for row in table.rows if "spectra" in row["values"]), None)
    labels = [table.column(name).label for name in table.columns]
    return render("results.html", kinds=kinds, labels=labels, spectra=spectra, note=note) + _differences(table)


def _differences(table: ResultTable) -> Markup:
    """The model minus each baseline, or nothing where they are not compared."""
    by_baseline = compared(table)
    names = metrics_of(by_baseline, table)
    if not names:
        return Markup()
    columns = [(name, table.column(name)) for name in names]
    rows = [
        {"method": method, "cells": [_difference(of_row.get(name), shown) for name, shown in columns]}
        for method, of_row in by_baseline.items()
    ]
    labels = [shown.label for _, shown in columns]
    return render("differences.html", title=TITLE, labels=labels, rows=rows, notes=notes(table, names))


def _difference(difference: Difference | None, shown: Column) -> dict[str, str] | None:
    """The texts of a cell: value, standard error, verdict."""
    if difference is None:
        return None
    value, error = difference.texts(shown)
    kind = difference.verdict.kind
    return {"value": value, "error": error, "kind": kind, "sign": difference.verdict.sign, "word": WORDS[kind]}


def _row(row: Mapping[str, Any], table: ResultTable) -> dict[str, Any]:
    """A method and its cells: value, standard error and interval as texts, and whether it is the best."""
    cells = []
    for name, (text, best) in zip(table.columns, table.cells(row), strict=True):
        value, _, error = text.partition(" ± ")
        cells.append({"value": value, "error": error, "interval": _interval(name, table, row["values"]), "best": best})
    return {"method": row["method"], "cells": cells}


def _interval(name: str, table: ResultTable, values: Mapping[str, float]) -> str:
    low, high = values.get(name + LOW), values.get(name + HIGH)
    if low is None or high is None or low == high or len(table.columns) > WITH_INTERVALS:
        return ""
    shown = table.column(name)
    return f"{shown.show(low)} to {shown.show(high)}"


def _pictures(charts: Mapping[str, tuple], paths: Sequence[Path | None]) -> Markup:
    drawn = [attempt(f"{name} in the page", _chart, name, drawing) for name, drawing in charts.items()]
    drawn = [chart for chart in drawn if chart is not None]
    made = [attempt(f"{path} in the page", _picture, path) for path in paths if path is not None]
    pictures = [picture for picture in made if picture is not None]
    return render("pictures.html", charts=drawn, pictures=pictures) if drawn or pictures else Markup()


def _chart(name: str, drawing: tuple) -> Markup:
    draw, *arguments = drawing
    return page_chart(name, draw, *arguments)


def _picture(path: Path) -> dict[str, Any]:
    png = path.read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    content = base64.b64encode(png).decode()
    wide = width > WIDE * height or SHRINK * width > HALF
    return {"name": path.stem, "wide": wide, "width": round(SHRINK * width), "content": content}


def _detail(detail: Detail) -> Markup:
    names = list(detail.rows[0])
    words = [name for name in names if isinstance(detail.rows[0][name], str)]
    rows = [{name: _cell(row[name], name == detail.drawn) for name in names} for row in detail.rows]
    limits = {"findable": FINDABLE, "printed": PRINTED}
    return render("table.html", title=detail.title, note=detail.note, columns=names, words=words, rows=rows, **limits)


def _cell(value: object, drawn: bool) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if math.isfinite(value) else "–"
    if drawn:
        return molecule_svg(str(value), *DRAWING)
    return shortened(f"{value:,}" if isinstance(value, int) else str(value))


def shortened(text: str) -> str:
    """The text with at most LONGEST letters."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _learning(
    curves: Mapping[str, Curve],
    distributions: Mapping[str, Sequence[float]],
    stopping: StoppingTrace | None,
    headings: Mapping[str, Column],
) -> Markup:
    unit = unit_of_loss(curves)
    shown = panels(curves, headings)
    charts = [page_chart(metric, draw_curves, metric, series, unit, headings) for metric, series in shown.items()]
    if stopping is not None:
        charts.append(page_chart("Early stopping", draw_stopping, stopping, headings))
    groups = {name: [v for v in values if math.isfinite(v)] for name, values in distributions.items()}
    groups = {name: values for name, values in groups.items() if values}
    if groups:
        charts.append(page_chart("Tanimoto similarity", draw_similarities, groups))
    heading = "Training curves and similarity" if groups else "Training curves"
    return render("learning.html", heading=heading, charts=charts) if charts else Markup()


def _data(split: Mapping, overlap: Sequence[Mapping], drops: DropReport | None, records: str) -> Markup:
    sizes = split.get("sizes") or {}
    reported = drops if drops is not None and drops.records else None
    if not sizes and reported is None:
        return Markup()
    shown = {"sizes": sizes, "method": split.get("method"), "overlap": overlap, "drops": reported}
    return render("data.html", records=records, **shown)


def _files(folder: Path | None, split: str) -> Markup:
    files = run_files(folder, split) if folder is not None else []
    return render("files.html", files=files) if files else Markup()


def _reproduction(commands: Sequence[str], about: Mapping[str, object]) -> Markup:
    return render("reproduction.html", commands=commands, about=about) if commands or about else Markup()
