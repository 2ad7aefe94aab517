"""The runs on the page of a sweep: which are drawn, their settings, colours, best groups and baselines."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass, field

from trimer.reporting.runs import Group, Run, Summary
from trimer.reporting.setting_names import short_keys
from trimer.reporting.sweep_charts import ROW_LETTERS, Axis, Colours, shortened
from trimer.reporting.table import DIFFERENCE, ERROR, ResultTable

DRAWN = 200  # runs in the charts
COMPARED = 5  # groups in the table of baselines
LETTERS = 90  # of a setting in a table


@dataclass
class Shown:
    """What all sections share: the runs in the charts, the metric that is compared, and colours of the runs.

    metric: the objective, or the first metric; "" if no run has a result. coloured: the first is used without scripts.
    tables: result tables of the runs by their folders.
    """

    summary: Summary
    runs: list[Run]
    metric: str
    settings: dict[str, list[str]]
    coloured: list[Colours]
    tables: dict[str, ResultTable] = field(default_factory=dict)

    @classmethod
    def of(cls, summary: Summary) -> Shown:
        metric = next((name for name in (summary.objective, *summary.metrics) if name and measured(summary, name)), "")
        ordered = best_first(summary, metric)
        runs = [run for run in summary.runs if run in ordered[:DRAWN]] if len(ordered) > DRAWN else summary.runs
        settings = {key: [value_of(run, key) for run in runs] for key in summary.varied if key != "command"}
        if len({run.seed for run in runs}) > 1:
            settings["seed"] = [run.seed or "" for run in runs]
        texts = [f"{run.metrics[metric]!r}" if metric in run.metrics else "" for run in runs]
        show = {float(text): summary.column(metric).show(float(text)) for text in texts if text}
        by_metric = [Colours.of(summary.column(metric).label, texts, show)] if metric else []
        by_setting = [Colours.of(key, values) for key, values in settings.items() if len(set(values)) > 1]
        one_setting = len([key for key in settings if key != "seed"]) == 1
        coloured = [*by_setting, *by_metric] if one_setting else [*by_metric, *by_setting]
        plain = [Colours("", ["k0"] * len(runs), [])]
        tables = {run.folder: run.table for run in runs if run.table is not None}
        return cls(summary, list(runs), metric, settings, coloured or plain, tables)

    @property
    def classes(self) -> list[str]:
        """The colour class of each run without scripts."""
        return self.coloured[0].classes

    def axis_of_metric(self, name: str) -> Axis:
        """The axis of a metric in the unit of its column."""
        unit = self.summary.column(name)
        values = [run.metrics.get(name, math.nan) * unit.scale for run in self.runs]
        return Axis.of_numbers(unit.label, values)


def value_of(run: Run, key: str) -> str:
    """A setting of a run: its override, else the value in its resolved config."""
    text = run.settings.get(key, run.config.get(key, ""))
    return shortened(text, LETTERS)


def measured(summary: Summary, name: str) -> bool:
    return any(math.isfinite(run.metrics.get(name, math.nan)) for run in summary.runs)


def best_first(summary: Summary, metric: str) -> list[Run]:
    """All runs, the best first, those without the metric last."""
    sign = 1 if summary.column(metric).lower_is_better else -1

    def place(run: Run) -> float:
        value = run.metrics.get(metric, math.nan)
        return sign * value if math.isfinite(value) else math.inf

    return sorted(summary.runs, key=place)


def best_group(shown: Shown) -> Group | None:
    """The best group by the metric that is compared."""
    return next((group for group in ordered_groups(shown) if shown.metric in group.metrics), None)


def ordered_groups(shown: Shown) -> list[Group]:
    sign = 1 if shown.summary.column(shown.metric).lower_is_better else -1

    def place(group: Group) -> float:
        return sign * group.metrics[shown.metric][0] if shown.metric in group.metrics else math.inf

    return sorted(shown.summary.groups, key=place)


def label_of(shown: Shown, group: Group) -> str:
    pairs = [(key, value_of(group.runs[0], key)) for key in shown.summary.varied]
    return " ".join(value if key == "command" else f"{key}={value}" for key, value in pairs if value) or "the defaults"


def short_label(shown: Shown, group: Group) -> str:
    """The label for a chart: with short keys if the whole ones have no room."""
    label, keys = label_of(shown, group), [key for key in shown.summary.varied if key != "command"]
    if len(label) <= ROW_LETTERS or not keys:
        return label
    pairs = [(short, value_of(group.runs[0], key)) for key, short in short_keys(keys).items()]
    command = [value for key in shown.summary.varied if key == "command" and (value := value_of(group.runs[0], key))]
    return " ".join([*command, *(f"{key}={value}" for key, value in pairs if value)])


def baseline_values(shown: Shown) -> tuple[ResultTable, dict[str, dict[str, list[float]]]]:
    """The columns of the tables, and the values of each baseline in all runs by metric."""
    tables = shown.tables
    values: dict[str, dict[str, list[float]]] = {}
    different = len({json.dumps(run.facts, sort_keys=True) for run in shown.runs if run.folder in tables}) > 1
    keys = [key for key in shown.summary.varied if key.startswith(("data", "experiment"))] if different else []
    for run in shown.runs:
        chosen = ", ".join(f"{key}={value_of(run, key)}" for key in keys)
        for row in tables[run.folder].rows if run.folder in tables else ():
            if row["kind"] != "method":
                method = f"{row['method']} ({chosen})" if chosen else row["method"]
                for name, value in row["values"].items():
                    if math.isfinite(value) and not name.endswith(ERROR):
                        values.setdefault(method, {}).setdefault(name, []).append(value)
    return next(iter(tables.values()), ResultTable()), values


def baseline_table(shown: Shown) -> ResultTable:
    """The baselines of the test split and the best groups, each with its mean and standard deviation over the runs."""
    like, values = baseline_values(shown)
    names = [name for name in like.columns if not name.endswith(DIFFERENCE)]
    table = ResultTable(like.k, names, headings=like.headings)
    if not values:
        return table
    for method, of in values.items():
        means = {name: statistics.fmean(numbers) for name, numbers in of.items()}
        spread = {name + ERROR: statistics.stdev(numbers) for name, numbers in of.items() if len(numbers) > 1}
        table.add(method, means | spread, baseline=True)
    for group in [group for group in ordered_groups(shown) if group.metrics][:COMPARED]:
        test = {name: of for name, of in group.metrics.items() if name.startswith("test/")}
        if test:
            means = {name.removeprefix("test/"): mean for name, (mean, _, _) in test.items()}
            spread = {f"{name.removeprefix('test/')}{ERROR}": sd for name, (_, sd, n) in test.items() if n > 1}
            table.add(label_of(shown, group), means | spread)
    return table


def reference(shown: Shown) -> list[tuple[str, float]]:
    """The best baseline in the metric that is compared, if this is one of the test split; at most one."""
    split, _, name = shown.metric.rpartition("/")
    if split != "test":
        return []
    _, values = baseline_values(shown)
    means = [(method, statistics.fmean(of[name])) for method, of in values.items() if name in of]
    means = [(method, mean) for method, mean in means if not method.startswith("oracle")]
    sign = 1 if shown.summary.column(shown.metric).lower_is_better else -1
    return [(f"best baseline: {m}", v) for m, v in sorted(means, key=lambda pair: sign * pair[1])[:1]]
