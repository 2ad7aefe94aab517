"""The runs of a sweep, or of any folders, on one page: `trimer report input=<folder> output=report.html`.

Means with intervals over seeds, baselines, learning curves, parallel coordinates, each setting against the metric, and
a table of runs that can be sorted and filtered, with links to the page of each run. One file without outside assets.
Without scripts it shows the same. Input is plain files; torch is not needed.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from trimer.counts import counted
from trimer.files import write_text
from trimer.progress import tracked
from trimer.reporting.attempts import attempt
from trimer.reporting.curves import PANELS, RATE, Curve, one_straight_line, read_curves
from trimer.reporting.runs import COSTS, Run, Summary
from trimer.reporting.shown_runs import (
    Shown,
    baseline_table,
    best_first,
    best_group,
    label_of,
    measured,
    ordered_groups,
    reference,
    short_label,
    value_of,
)
from trimer.reporting.spread import interval
from trimer.reporting.sweep_charts import Axis, Row, curve_chart, interval_chart, parallel_chart, setting_chart
from trimer.reporting.templates import render

LISTED = 1000  # runs in the table of the page; the CSV file has all
POINTS = 80  # of a curve in a chart
CHARTS = 6  # panels of learning curves
AXES = 8  # settings among the parallel coordinates, and settings with a chart
MEANS = 30  # groups in the chart of means
SECTIONS = (("means", "Means"), ("baselines", "Baselines"), ("curves", "Learning curves"), ("parallel", "Settings"),
            ("runs", "Runs"), ("failures", "Without a result"))  # fmt: skip


def write_sweep_page(summary: Summary, path: str | Path, title: str = "Runs") -> Path:
    """Write the page and return its path. A section that cannot be made is reported and left out."""
    path = Path(path)
    shown, common = Shown.of(summary), _common_folder(summary)
    axes = _axes(shown)
    makers: dict[str, tuple] = {
        "means": (_means, shown),
        "baselines": (_baselines, shown),
        "curves": (_curves, shown),
        "parallel": (_settings, shown, axes),
        "runs": (_runs, shown, path.parent),
        "failures": (_failures, summary),
    }
    made = {name: attempt(f"{path}, section {name}", *maker) for name, maker in makers.items()}
    sections = [{"id": name, "label": label, "content": made[name]} for name, label in SECTIONS if made[name]]
    facts = {
        "names": [_short_name(run, common) for run in shown.runs],
        "colours": [{"name": c.name, "classes": c.classes, "legend": c.legend} for c in shown.coloured],
        "axes": [[_position(value) for value in axis.positions] for axis in axes],
    }
    text = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")  # no end of the script in a name
    page = render("sweep.html", title=title, header=_header(shown, title), sections=sections, facts=Markup(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _common_folder(summary: Summary) -> str:
    """The folder that holds all runs, below the one that was read; empty if there is none."""
    folders = [run.folder for run in summary.runs]
    common = os.path.commonpath(folders) if len(folders) > 1 else ""
    return "" if common in folders else common


def _short_name(run: Run, common: str) -> str:
    """The name of a run on the page: without the folder that all runs have in common."""
    return os.path.relpath(run.folder, common) if common else run.folder


def _position(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _header(shown: Shown, title: str) -> Markup:
    summary, unit = shown.summary, shown.summary.column(shown.metric)
    states = Counter(run.status for run in summary.runs)
    figures = [{"name": "Runs", "value": f"{len(summary.runs):,}", "note": counted(len(summary.groups), "settings")}]
    finished = ", ".join(f"{count:,} {status}" for status, count in states.items() if status != "ok")
    figures.append({"name": "Finished", "value": f"{states['ok']:,}", "note": finished or "all"})
    best = summary.best or best_group(shown)
    if best is not None:
        mean, deviation, count = best.metrics[shown.metric]
        spread = f"± {unit.show(deviation)} over {count} {summary.over}" if count > 1 else f"one {summary.over[:-1]}"
        figures.append({"name": f"Best {unit.label}", "value": unit.show(mean), "note": spread})
    seconds = [run.metrics["seconds"] for run in summary.runs if run.metrics.get("seconds")]
    if seconds:
        unit_of_time, share = ("h", 3600) if sum(seconds) >= 7200 else ("min", 60)
        total = sum(seconds) / share
        shown_total = f"{total:.2g}" if total < 10 else f"{total:,.0f}"
        note = f"{statistics.median(seconds):,.0f} s in the median"
        figures.append({"name": f"Training time ({unit_of_time})", "value": shown_total, "note": note})
    constant = [f"{key}={value}" for key, value in summary.constant.items() if key != "command"]
    common = _common_folder(summary)
    notes = [*([f"All runs are in {common}."] if common else []), *summary.errors, *summary.notes]
    name = label_of(shown, best) if best is not None else ""
    return render("sweep_header.html", title=title, figures=figures, best=name, constant=constant, notes=notes)


def _means(shown: Shown) -> Markup:
    summary, groups = shown.summary, ordered_groups(shown)
    known = [group for group in groups if shown.metric in group.metrics]
    if not known:
        return Markup()
    rows = []
    for group in groups[:LISTED]:
        cells = []
        for name in summary.metrics:
            mean, deviation, count = group.metrics.get(name, (None, None, 0))
            shows, ends = summary.column(name).show, interval(*group.metrics[name]) if name in group.metrics else None
            text = f"{shows(ends[0])} to {shows(ends[1])}" if ends else ""
            cells.append({"value": shows(mean), "error": shows(deviation) if count > 1 else "", "interval": text})
        settings = [value_of(group.runs[0], key) for key in summary.varied]
        rows.append({"settings": settings, "seeds": group.seeds, "cells": cells})
    chart = Markup()
    places = {id(run): place for place, run in enumerate(shown.runs)}
    unit = summary.column(shown.metric)
    if len(known) > 1 or len(known[0].runs) > 1:
        lines = []
        for group in known[:MEANS]:
            ends = interval(*group.metrics[shown.metric])
            values = {
                places[id(run)]: run.metrics[shown.metric] * unit.scale
                for run in group.runs
                if id(run) in places and run.status == "ok" and math.isfinite(run.metrics.get(shown.metric, math.nan))
            }
            span = None if ends is None else (ends[0] * unit.scale, ends[1] * unit.scale)
            lines.append(Row(short_label(shown, group), group.metrics[shown.metric][0] * unit.scale, span, values))
        baseline = reference(shown)
        chart = interval_chart(unit.label, lines, shown.classes, {name: v * unit.scale for name, v in baseline})
    labels = [summary.column(name).label for name in summary.metrics]
    more = max(0, len(known) - MEANS)
    return render("sweep_means.html", chart=chart, rows=rows, settings=summary.varied, labels=labels, more=more,
                  name=unit.label, over=summary.over)  # fmt: skip


def _baselines(shown: Shown) -> Markup:
    table = baseline_table(shown)
    if not table.rows:
        return Markup()
    compared = [name.removeprefix("test/") for name in shown.summary.metrics if name.startswith("test/")]
    table.metrics = [name for name in compared if name in table.columns] or table.metrics
    rows = [{"kind": row["kind"], "method": row["method"], "cells": table.cells(row)} for row in table.ordered()]
    labels = [table.column(name).label for name in table.columns]
    return render("sweep_baselines.html", rows=rows, labels=labels)


def _curves(shown: Shown) -> Markup:
    curves: dict[str, dict[int, Curve]] = {}
    for place, run in enumerate(tracked(shown.runs, "report", len(shown.runs), "curves")):
        path = run.path / "metrics.csv"
        logged = attempt(f"the curves of {run.folder}", read_curves, path) if path.is_file() else None
        for name, curve in (logged or {}).items():
            split, _, metric = name.partition("/")
            varies = name == RATE and len(set(curve.values)) > 1
            if varies or (split in ("train", "val") and "/" not in metric and len(curve.values) > 1):
                curve = curve.smoothed(POINTS) if split == "train" else curve
                curves.setdefault(name, {})[place] = curve.thinned(POINTS)
    metrics = dict.fromkeys([*PANELS, *shown.summary.headings])
    wanted = [f"{split}/{name}" for name in metrics for split in ("val", "train")]
    if shown.metric in curves:
        wanted.insert(0, shown.metric)
    names = [name for name in dict.fromkeys(wanted) if name in curves]
    names = (names or sorted(curves.keys() - {RATE}))[:CHARTS]
    names += [RATE] if RATE in curves and not one_straight_line(list(curves[RATE].values())) else []
    charts = []
    for name in names:
        unit = shown.summary.column(name)
        charts.append(
            {"name": _title(name, unit.label), "chart": curve_chart(name, curves[name], shown.classes, unit.scale)}
        )
    left = len(shown.summary.runs) - len(shown.runs)
    return render("sweep_curves.html", charts=charts, left=left, drawn=len(shown.runs)) if charts else Markup()


def _title(name: str, label: str) -> str:
    split, _, _ = name.partition("/")
    if name == RATE:
        return "Learning rate"
    words = {"train": "training", "val": "validation", "test": "test"}
    return f"{label.removeprefix(split).strip()}, {words[split]}" if split in words else label


def _axes(shown: Shown) -> list[Axis]:
    """The settings that differ, then the seconds of training and the compared metrics, the objective last."""
    keys = [key for key, values in shown.settings.items() if key != "seed" and len(set(values)) > 1][:AXES]
    if not keys or not shown.metric:
        return []
    others = [name for name in (*shown.summary.metrics, "seconds") if name != shown.metric][: max(1, 5 - len(keys))]
    others = [name for name in others if measured(shown.summary, name)]
    names = [*others[::-1], shown.metric]
    return [*(Axis.of_texts(key, shown.settings[key]) for key in keys), *(shown.axis_of_metric(n) for n in names)]


def _settings(shown: Shown, axes: Sequence[Axis]) -> Markup:
    if not axes or len(shown.runs) < 2:
        return Markup()
    up = shown.axis_of_metric(shown.metric)
    keys = [key for key, values in shown.settings.items() if len(set(values)) > 1][:AXES]
    charts = [setting_chart(Axis.of_texts(key, shown.settings[key]), up, shown.classes) for key in keys]
    return render("sweep_settings.html", parallel=parallel_chart(axes, shown.classes), charts=charts, name=up.name)


def _runs(shown: Shown, folder: Path) -> Markup:
    summary, common = shown.summary, _common_folder(shown.summary)
    names = [*summary.metrics, *(name for name in COSTS if measured(summary, name) and name not in summary.metrics)]
    places = {id(run): place for place, run in enumerate(shown.runs)}
    rows = [
        {
            "run": places.get(id(run)),
            "folder": _short_name(run, common),
            "link": _link(run, folder),
            "settings": [value_of(run, key) for key in summary.varied],
            "seed": run.seed or "",
            "status": run.status,
            "value": run.metrics.get(shown.metric, ""),
            "cells": [summary.column(name).show(run.metrics.get(name)) for name in names],
        }
        for run in best_first(summary, shown.metric)[:LISTED]
    ]
    unit = summary.column(shown.metric)
    return render(
        "sweep_runs.html", rows=rows, total=len(summary.runs), settings=summary.varied, name=unit.label,
        labels=[summary.column(name).label for name in names], statuses=sorted({run.status for run in summary.runs}),
        scale=unit.scale, shown=[name == shown.metric for name in names],
    )  # fmt: skip


def _link(run: Run, folder: Path) -> str:
    """The link from a page in `folder` to the page of a run; empty if the run has none."""
    pages = [run.path / split / "page.html" for split in ("test", "val", "all")]
    page = next((path for path in pages if path.is_file()), None)
    if page is None:
        return ""
    try:
        return quote(os.path.relpath(page.resolve(), folder.resolve()).replace(os.sep, "/"))
    except ValueError:  # on another drive
        return page.resolve().as_uri()


def _failures(summary: Summary) -> Markup:
    failed: list[Mapping[str, Any]] = [
        {"folder": run.folder, "status": run.status, "error": run.error or "no reason was recorded"}
        for run in summary.runs
        if run.status != "ok"
    ]
    if not failed:
        return Markup()
    return render("sweep_failures.html", runs=failed[:LISTED], total=len(failed))
