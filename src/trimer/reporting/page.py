"""The result of a study on one page: a self-contained HTML file with tables, curves, spectra and molecules.

The page loads nothing from elsewhere and runs no script: images, inline SVG and one style sheet, so it can be mailed
and archived. Input is plain data; torch is not needed.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from trimer.data.core.drops import DropReport
from trimer.files import write_text
from trimer.reporting.attempts import attempt
from trimer.reporting.curves import Curve, panels
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.figures import draw_curves, draw_similarities
from trimer.reporting.spectrum_cards import similarities, spectrum_cards
from trimer.reporting.style import page_chart
from trimer.reporting.table import HIGH, LOW, ResultTable, column
from trimer.reporting.templates import render

DRAWING = (150, 110)  # pixels of a molecule in a table
LONGEST = 120  # letters of a cell
HEADLINES = ("tanimoto@1", "tanimoto@10", "top10_accuracy", "formula_match@10", "validity", "perplexity")
MOLECULES = (
    "Two molecules are the same when block 1 of their InChIKeys is the same; Tanimoto is of Morgan fingerprints "
    "(radius 2, 2048 bits), the best of the first k candidates. ± is the standard error over molecules."
)
WIDE = 1.6  # width of a picture relative to its height above which it has a row for itself
FIGURES = 4  # numbers at the head of a page that has none of the headlines
BINS = 20  # of the histogram of similarities
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
    with `smiles` and optionally `count`, or plain SMILES; best first) and, where they are known, `smiles` (the true
    molecule), `name`, `collision_energy`, `instrument_type`, `problem`. `examples` of them are shown, spaced evenly
    from the best to the worst. curves: of `read_curves`. distributions: {name: Tanimoto similarities}, by default those
    of the predictions. split: its manifest (`method` and `sizes` are shown). overlap: of `Split.overlap`.
    commands: what reproduces the run. about: versions and such. note: how the metrics are defined, above the table.
    records: what the rows of the data are. pictures: PNG files that are embedded in the page; None is one that could
    not be made. details: further tables.
    """
    path = Path(path)
    similar = distributions if distributions is not None else attempt("similarities", similarities, predictions)
    makers: dict[str, tuple] = {
        "header": (_header, title, subtitle, table),
        "results": (_results, table, note),
        "learning": (_learning, curves or {}, similar or {}),
        "spectra": (spectrum_cards, predictions, examples),
        "figures": (_pictures, pictures),
        **{f"table {detail.title}": (_detail, detail) for detail in details if detail.rows},
        "data": (_data, split or {}, overlap, drops, records),
        "reproduction": (_reproduction, commands, about or {}),
    }
    header, *sections = [_section(path, name, maker) for name, maker in makers.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render("page.html", title=title, header=header, sections=sections))
    return path


def _section(path: Path, name: str, maker: tuple) -> Markup:
    """A section of the page, or a note in its place where it could not be made."""
    section = attempt(f"{path}, section {name}", *maker)
    return render("missing.html", name=name) if section is None else section


def _header(title: str, subtitle: str, table: ResultTable) -> Markup:
    methods = [row for row in table.rows if row["kind"] == "method"]
    values = methods[-1]["values"] if methods else {}
    names = [name for name in HEADLINES if name in values] or table.columns[:FIGURES]
    headlines = [_headline(name, values, table) for name in names if math.isfinite(values.get(name, math.nan))]
    return render("header.html", title=title, subtitle=subtitle, headlines=headlines)


def _headline(name: str, values: Mapping[str, float], table: ResultTable) -> dict[str, str]:
    """One number of the run, and how it compares with the best baseline."""
    shown = column(name)
    headline = {"label": shown.label, "value": shown.show(values[name]), "method": ""}
    others = [
        (row["values"][name], row["method"])
        for row in table.rows
        if row["kind"] == "baseline" and math.isfinite(row["values"].get(name, math.nan))
    ]
    if not others or name == "validity":
        return headline
    choose = min if shown.lower_is_better else max
    best, method = choose(reversed(others), key=lambda other: other[0])  # of equals the strongest, which is named last
    word = "above" if values[name] > best else "below" if values[name] < best else "equal to"
    better = "below" if shown.lower_is_better else "above"
    sign = "" if word == "equal to" else "up" if word == better else "down"
    return {**headline, "method": method, "best": shown.show(best), "word": word, "sign": sign}


def _results(table: ResultTable, note: str) -> Markup:
    if not table.rows:
        return Markup()
    kinds = [
        ({"name": kind, "label": KINDS[kind]}, [_row(row, table) for row in rows])
        for kind, rows in groupby(table.ordered(), key=lambda row: row["kind"])
    ]
    spectra = next((row["values"]["spectra"] for row in table.rows if "spectra" in row["values"]), None)
    labels = [column(name).label for name in table.columns]
    return render("results.html", kinds=kinds, labels=labels, spectra=spectra, note=note)


def _row(row: Mapping[str, Any], table: ResultTable) -> dict[str, Any]:
    """A method and its cells: value, standard error and interval as texts, and whether it is the best."""
    cells = []
    for name, (text, best) in zip(table.columns, table.cells(row), strict=True):
        value, _, error = text.partition(" ± ")
        cells.append({"value": value, "error": error, "interval": _interval(name, row["values"]), "best": best})
    return {"method": row["method"], "cells": cells}


def _interval(name: str, values: Mapping[str, float]) -> str:
    low, high = values.get(name + LOW), values.get(name + HIGH)
    if low is None or high is None or low == high:
        return ""
    shown = column(name)
    return f"{shown.show(low)} to {shown.show(high)}"


def _pictures(paths: Sequence[Path | None]) -> Markup:
    made = [attempt(f"{path} in the page", _picture, path) for path in paths if path is not None]
    pictures = [picture for picture in made if picture is not None]
    return render("pictures.html", pictures=pictures) if pictures else Markup()


def _picture(path: Path) -> dict[str, Any]:
    png = path.read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    return {"name": path.stem, "wide": width > WIDE * height, "content": base64.b64encode(png).decode()}


def _detail(detail: Detail) -> Markup:
    names = list(detail.rows[0])
    words = [name for name in names if isinstance(detail.rows[0][name], str)]
    rows = [{name: _cell(row[name], name == detail.drawn) for name in names} for row in detail.rows]
    return render("table.html", title=detail.title, note=detail.note, columns=names, words=words, rows=rows)


def _cell(value: object, drawn: bool) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if math.isfinite(value) else "–"
    if drawn:
        return molecule_svg(str(value), *DRAWING)
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _learning(curves: Mapping[str, Curve], distributions: Mapping[str, Sequence[float]]) -> Markup:
    charts = [page_chart(metric, draw_curves, metric, series) for metric, series in panels(curves).items()]
    groups = {name: [v for v in values if math.isfinite(v)] for name, values in distributions.items()}
    groups = {name: values for name, values in groups.items() if values}
    if groups:
        charts.append(page_chart("Tanimoto similarity", draw_similarities, groups, BINS))
    heading = "Training curves and similarity" if groups else "Training curves"
    return render("learning.html", heading=heading, charts=charts) if charts else Markup()


def _data(split: Mapping, overlap: Sequence[Mapping], drops: DropReport | None, records: str) -> Markup:
    sizes = split.get("sizes") or {}
    reported = drops if drops is not None and drops.records else None
    if not sizes and reported is None:
        return Markup()
    shown = {"sizes": sizes, "method": split.get("method"), "overlap": overlap, "drops": reported}
    return render("data.html", records=records, **shown)


def _reproduction(commands: Sequence[str], about: Mapping[str, object]) -> Markup:
    return render("reproduction.html", commands=commands, about=about) if commands or about else Markup()
