"""The panels of a study's dashboard, derived from its run folders; plain data, without the libraries of a tracker."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trimer.reporting.runs import Run, Summary
from trimer.reporting.sweep_charts import LONG_SCALE, number
from trimer.reporting.table import ERROR, HIGH, LOW, column
from trimer.run import run_config
from trimer.trackers.descriptions import panel_name, sweep_of

SECTIONS = ("val", "train", "test", "optimizer", "speed")  # in the order of the dashboard
TABLES = ("test/table", "test/predictions", "val/predictions")
MEDIA = ("test/page", "test/confusion", "test/reliability", "test/embeddings", "test/curves", "test/spectra")
MOST = 12  # panels of a section


@dataclass(frozen=True)
class Setting:
    """A key of the config that differs between runs; logarithmic: its positive numbers span a factor of 10."""

    key: str
    numbers: bool
    logarithmic: bool


@dataclass
class Plan:
    """title and groups: of the runs. objective: the metric that is compared, and its key in the summary of a run.

    curves: section -> metrics. settings: keys of the config. tables, media: names of logged objects.
    """

    title: str
    groups: list[str]
    objective: str
    best: str
    lower_is_better: bool
    settings: list[Setting] = field(default_factory=list)
    curves: dict[str, list[str]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)


def plan_of(summary: Summary, title: str) -> Plan:
    """The plan for runs of local folders: every panel has a key that at least one of these runs logs."""
    logged = sorted({name for run in summary.runs for name in logged_metrics(run)})
    objective = summary.objective or next((name for name in logged if name.startswith(("val/", "test/"))), "")
    lower = "loss" in objective or column(objective).lower_is_better
    sections: dict[str, list[str]] = {}
    for name in sorted(logged, key=lambda name: (name != objective, name)):
        sections.setdefault(name.partition("/")[0], []).append(name)
    known = [name for name in SECTIONS if name in sections]
    return Plan(
        title=title,
        groups=sorted({group_of(run) for run in summary.runs}),
        objective=objective,
        best=f"{objective}.{'min' if lower else 'max'}" if "/" in objective else objective,
        lower_is_better=lower,
        settings=_settings(summary),
        curves={name: sections[name][:MOST] for name in [*known, *sorted(set(sections) - {*known, ""})]},
        tables=[name for name in TABLES if _exists(summary.runs, name, ("csv", "parquet"))],
        media=[name for name in MEDIA if _exists(summary.runs, name, ("png", "html"))],
    )  # fmt: skip


def logged_metrics(run: Run) -> list[str]:
    """The names of the metrics that a run logs, as its tracker knows them, from the first line of metrics.csv."""
    path = run.path / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        names = next(csv.reader(stream), [])
    panels = (panel_name(name) for name in names if name != "step" and not name.endswith((ERROR, LOW, HIGH)))
    return [name for name in panels if name is not None]


def group_of(run: Run) -> str:
    """The group of a run in its tracker: its sweep, or the name in its config."""
    sweep = sweep_of(run.path)
    return sweep or str(run_config(run.path).get("name", run.path.parent.name))


def _settings(summary: Summary) -> list[Setting]:
    settings = []
    for key in summary.varied:
        values = [run.config.get(key) for run in summary.runs]
        known = [value for value in values if value is not None]
        if not known:  # a choice of a group, such as model=bart_small, names a group, not a key of the config
            continue
        numbers = [number(value) for value in known]
        all_numbers = all(math.isfinite(value) for value in numbers)
        long = all_numbers and min(numbers) > 0 and max(numbers) / min(numbers) >= LONG_SCALE
        settings.append(Setting(key, all_numbers, long))
    return settings


def _exists(runs: Sequence[Run], name: str, suffixes: Sequence[str]) -> bool:
    """Whether any run has a file from which an object of this name is logged."""
    paths: list[Path] = [run.path / f"{name}.{suffix}" for run in runs for suffix in suffixes]
    return any(path.is_file() for path in paths)
