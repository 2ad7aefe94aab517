"""The runs of a sweep, or of any folder, in one table: every job, mean and spread over seeds, the best settings.

Reads what a run folder holds: `config.yaml`, `overrides.yaml`, `run.json`, `split.json` and `result.json`. Runs are
averaged if their resolved configs differ by nothing but the seed. A run that failed or has not ended is listed with its
reason and stays out of the means.
"""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from trimer.errors import InputError
from trimer.reporting.grouping import conflict, facts_of, grouped, notes, settings_of, varied_keys
from trimer.reporting.table import ERROR, ResultTable, column
from trimer.run import run_config

if TYPE_CHECKING:
    from rich.table import Table

MARKS = ("run.json", "result.json", "job.json")  # any of them makes a folder a run
_NOT_SETTINGS = re.compile(r"[+~]*(seed$|resume$|name$|n_jobs$|tags$|hydra[./]|paths[./]|launcher$)")
_SETS = ("test", "val")
COSTS = ("seconds", "memory_mb")
OF_LABELS = ("accuracy", "balanced_accuracy", "mcc", "auroc", "rmse", "r2", "spearman")
SETTINGS_SHOWN, METRICS_SHOWN = 3, 4  # columns of the table in the terminal


@dataclass
class Run:
    """One run: its folder, how it ended, what was set on its command line, and what was measured.

    config: its resolved settings by dotted keys. facts: its data and their split. code: the version that ran it.
    """

    folder: str
    status: str
    settings: dict[str, str]
    seed: str | None
    metrics: dict[str, float]
    objective: str | None = None
    error: str | None = None
    config: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    code: str | None = None


@dataclass
class Group:
    """Runs that differ by nothing but their seed.

    metrics: mean, standard deviation and count of each metric over the seeds whose runs ended. error: why there is no
    mean.
    """

    settings: dict[str, str]
    runs: list[Run]
    metrics: dict[str, tuple[float, float, int]]
    error: str | None = None

    @property
    def seeds(self) -> str:
        """Seeds that ended, of all."""
        return f"{len({run.seed for run in self.runs if run.status == 'ok'})}/{len({run.seed for run in self.runs})}"


@dataclass
class Summary:
    """All runs, their groups, the settings that differ, the metrics shown, and the best group by the objective."""

    runs: list[Run]
    groups: list[Group]
    varied: list[str]
    metrics: list[str]
    objective: str | None = None
    best: Group | None = None
    constant: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """Why groups have no mean."""
        return [group.error for group in self.groups if group.error]

    def to_markdown(self) -> str:
        """Groups, the best of them, then every run."""
        lines = [f"{len(self.runs)} runs, {sum(run.status == 'ok' for run in self.runs)} of them ended."]
        if self.constant:
            lines[0] += " All with " + ", ".join(f"`{key}={value}`" for key, value in self.constant.items()) + "."
        labels = [column(name).label for name in self.metrics]
        lines += ["", "## Mean ± standard deviation over seeds", "", *_markdown_head([*self.varied, "runs"], labels)]
        for group in self.groups:
            cells = [*(group.settings.get(key, "") for key in self.varied), group.seeds]
            cells += [_mean(group, name) for name in self.metrics]
            lines.append(_markdown_row([f"**{cell}**" if group is self.best and cell else cell for cell in cells]))
        if self.best is not None:
            words = " ".join(f"{key}={value}" for key, value in self.best.settings.items() if key != "command")
            lines += ["", f"Best by {column(self.objective).label}: `{words or 'the defaults'}`"]
        lines += [f"\n{sentence}" for sentence in (*self.errors, *self.notes)]
        lines += ["", "## Runs", "", *_markdown_head(["folder", *self.varied, "seed", "status"], labels)]
        for run in self.runs:
            cells = [run.folder, *(run.settings.get(key, "") for key in self.varied), run.seed or "", run.status]
            lines.append(_markdown_row([*cells, *(column(m).show(run.metrics.get(m)) for m in self.metrics)]))
        failures = [run for run in self.runs if run.status != "ok"]
        if failures:
            lines += ["", "## Without a result", ""]
            lines += [f"- `{run.folder}`, {run.status}: {run.error or 'no reason was recorded'}" for run in failures]
        return "\n".join(lines) + "\n"

    def to_rich(self) -> Table:
        """The groups for the terminal, the best in bold; what does not fit there is in the files."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title="Mean ± standard deviation over seeds", title_justify="left", show_lines=True)
        wide = len(self.varied) > SETTINGS_SHOWN  # runs of different kinds: one column for all that was set
        for name in ["settings"] if wide else self.varied:
            table.add_column(name, overflow="fold", min_width=30 if wide else 8)
        table.add_column("runs", no_wrap=True)
        metrics = self.metrics[: METRICS_SHOWN // 2 if wide else METRICS_SHOWN]
        for name in metrics:
            table.add_column(column(name).label, justify="right", min_width=9)
        for group in self.groups:
            cells = [group.settings.get(key, "") for key in self.varied]
            if wide:
                said = ((key, cell) for key, cell in zip(self.varied, cells, strict=True) if cell)
                cells = ["\n".join(cell if key == "command" else f"{key}={cell}" for key, cell in said)]
            cells.append(group.seeds)
            cells += [_mean(group, name) for name in metrics]
            table.add_row(*map(escape, cells), style="bold" if group is self.best else "")
        if more := len(self.metrics) - len(metrics):
            table.caption = f"{more} more metrics in the files; choose by metrics=[...]"
        return table


def read_runs(folder: str | Path) -> list[Run]:
    """The run in a folder, or all runs below it, in the order of their names; InputError where there is none."""
    folder = Path(folder)
    found = {path.parent for mark in MARKS for path in folder.rglob(mark)}
    if not found:
        raise InputError(
            f"{folder} holds no run: no run.json or result.json in it or below; give the folder of a run or sweep"
        )
    return [_read_run(path, folder) for path in sorted(found, key=_natural)]


def summarise(runs: Sequence[Run], metrics: Sequence[str] = (), objective: str | None = None) -> Summary:
    """Group the runs by their resolved configs without the seed.

    metrics: the columns, by default those of the result table that were measured, and the objective. objective: the
    metric that names the best group, by default the one in the runs' config; its direction follows from its name.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    constant = {key: runs[0].settings[key] for key in keys if len({run.settings.get(key) for run in runs}) == 1}
    members = grouped(runs)
    varied = varied_keys(members)
    groups = []
    for own in members:
        error = conflict(own)
        groups.append(Group(own[0].settings, own, {} if error else _spread(own), error))
    objective = objective or next((run.objective for run in runs if run.objective), None)
    measured = list(dict.fromkeys(name for run in runs for name in run.metrics))
    shown = list(metrics) or _default_metrics(measured, objective)
    return Summary(list(runs), groups, varied, shown, objective, _best(groups, objective), constant, notes(groups))


def write_summary(summary: Summary, folder: str | Path) -> list[Path]:
    """Write `runs.csv` (all settings and metrics), `groups.csv` (mean, standard deviation, count) and `summary.md`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = list(dict.fromkeys([*summary.constant, *summary.varied, *(k for r in summary.runs for k in r.settings)]))
    measured = list(dict.fromkeys(name for run in summary.runs for name in run.metrics))
    runs = [["folder", "status", "seed", *settings, *measured, "error"]]
    for run in summary.runs:
        values = [*(run.settings.get(key) for key in settings), *(run.metrics.get(name) for name in measured)]
        runs.append([run.folder, run.status, run.seed, *values, run.error])
    groups = [["runs", *settings, *(f"{name}{part}" for name in measured for part in ("", "_std", "_count"))]]
    for group in summary.groups:
        values = [value for name in measured for value in group.metrics.get(name, (None, None, 0))]
        groups.append([len(group.runs), *(group.settings.get(key) for key in settings), *values])
    for name, rows in (("runs.csv", runs), ("groups.csv", groups)):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
    (folder / "summary.md").write_text(summary.to_markdown(), encoding="utf-8")
    return [folder / "runs.csv", folder / "groups.csv", folder / "summary.md"]


def _read_run(path: Path, root: Path) -> Run:
    record, result, job = (_json(path / name) for name in MARKS)
    words = _yaml(path / "overrides.yaml") or job.get("overrides") or []
    pairs = dict(str(word).split("=", 1) for word in words if "=" in str(word))
    settings = {key: value for key, value in pairs.items() if not _NOT_SETTINGS.match(key)}
    if record.get("command"):
        settings = {"command": record["command"], **settings}
    seed = pairs.get("seed", (record.get("seeds") or {}).get("seed"))
    return Run(
        folder=str(path.relative_to(root)) if path != root else path.name,
        status=result.get("status", "unfinished" if not job.get("exit") else "failed"),
        settings=settings,
        seed=None if seed is None else str(seed),
        metrics={name: float(value) for name, value in (_flat(result.get("metrics") or {}) | _costs(result)).items()},
        objective=run_config(path).get("objective"),
        error=result.get("error"),
        config=settings_of(path, record),
        facts=facts_of(path, record),
        code=json.dumps([record.get("trimer"), record.get("git")]) if "git" in record else None,
    )


def _costs(result: Mapping) -> dict[str, float]:
    """What a training took."""
    return {name: result[name] for name in COSTS if result.get(name) is not None}


def _spread(runs: Sequence[Run]) -> dict[str, tuple[float, float, int]]:
    """Mean, sample standard deviation (NaN for one seed) and count of each metric over the seeds whose runs ended.

    A seed that was run several times counts once, with its mean.
    """
    by_seed: dict[str, dict[str | None, list[float]]] = {}
    for run in (run for run in runs if run.status == "ok"):
        for name, value in run.metrics.items():
            if math.isfinite(value):
                by_seed.setdefault(name, {}).setdefault(run.seed, []).append(value)
    values = {name: [statistics.fmean(own) for own in seeds.values()] for name, seeds in by_seed.items()}
    return {
        name: (statistics.fmean(own), statistics.stdev(own) if len(own) > 1 else math.nan, len(own))
        for name, own in values.items()
    }


def _best(groups: Sequence[Group], objective: str | None) -> Group | None:
    known = [group for group in groups if objective in group.metrics]
    if not known:
        return None
    choose = min if column(objective).lower_is_better else max
    return choose(known, key=lambda group: group.metrics[objective][0])


def _default_metrics(measured: Sequence[str], objective: str | None) -> list[str]:
    standard = ResultTable(rows=[{"values": {name.rpartition("/")[2]: 0 for name in measured}}]).columns
    wanted = [f"{part}/{name}" for part in _SETS for name in [*standard, *OF_LABELS, "loss"]]
    shown = [name for name in wanted if name in measured]
    # One set is enough: the validation numbers stand in only where the test set was not measured.
    shown = [name for name in shown if name.startswith("test/")] or shown
    shown = shown or [name for name in measured if not name.endswith(ERROR) and "=" not in name][:8]
    return [objective, *(name for name in shown if name != objective)] if objective in measured else shown


def _mean(group: Group, name: str) -> str:
    mean, deviation, _ = group.metrics.get(name, (None, None, 0))
    return column(name).show(mean, deviation)


def _flat(values: Mapping, prefix: str = "") -> dict[str, float]:
    """Nested numbers under names joined by slashes; what is no number is left out."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[f"{prefix}{key}"] = value
    return flat


def _natural(path: Path) -> list:
    """Job 10 after job 9."""
    return [[int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)] for name in path.parts]


def _json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); delete the file or repeat the run") from error


def _yaml(path: Path) -> object:
    if not path.is_file():
        return None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML ({error}); delete the file or repeat the run") from error


def _markdown_head(settings: Sequence[str], metrics: Sequence[str]) -> list[str]:
    return [_markdown_row([*settings, *metrics]), "|" + " :-- |" * len(settings) + " --: |" * len(metrics)]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
