"""The runs of a sweep, or of any folder, in one table: every run, mean and spread over seeds, the best settings.

Reads `config.yaml`, `overrides.yaml`, `run.json`, `split.json` and `result.json` of each run folder. Runs are averaged
if their resolved configs differ in nothing but the seed, or the fold of a cross-validation: then each fold counts once,
by the mean of its seeds. A run that failed or has not finished is listed with its reason and does not enter the means.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trimer.errors import InputError
from trimer.progress import tracked
from trimer.reporting.attempts import attempt
from trimer.reporting.grouping import conflict, facts_of, grouped, notes, settings_of, varied_keys
from trimer.reporting.spread import fold_of, interval, spread
from trimer.reporting.table import ERROR, Column, ResultTable, column
from trimer.reporting.templates import render
from trimer.run import run_config

if TYPE_CHECKING:
    from rich.table import Table

MARKS = ("run.json", "result.json", "job.json")  # any of them makes a folder a run
NO_RUNS = ("checkpoints", "plugins", "tensorboard", "wandb")  # folders inside of runs
_NOT_SETTINGS = re.compile(
    r"[+~]*(seed$|resume$|from_run$|name$|n_jobs$|tags$|hydra[./]|paths[./]|launcher$|data\.split\.fold$)"
)
_SPLITS = ("test", "val")
COSTS = ("seconds", "memory_mb")  # of a training
OF_LABELS = ("accuracy", "balanced_accuracy", "mcc", "auroc", "rmse", "r2", "spearman")
SETTINGS_SHOWN, METRICS_SHOWN = 3, 4  # columns of the table in the terminal


@dataclass
class Run:
    """One run: its folder, its status, the overrides of its command line, and its metrics.

    config: its resolved config by dotted keys. facts: hashes of its data and split. code: the version of the code.
    path: of its folder; `folder` is its name in tables. table: its results, if it was evaluated.
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
    fold: str | None = None
    path: Path = Path()
    table: ResultTable | None = None


@dataclass
class Group:
    """Runs that differ in nothing but their seed, or the fold of a cross-validation.

    metrics: mean, standard deviation and count of each metric over the folds, or else the seeds, whose runs finished.
    error: why there is no mean.
    """

    settings: dict[str, str]
    runs: list[Run]
    metrics: dict[str, tuple[float, float, int]]
    error: str | None = None

    @property
    def seeds(self) -> str:
        """The number of seeds that finished, of all; in a cross-validation those of all folds together."""
        finished = {(run.fold, run.seed) for run in self.runs if run.status == "ok"}
        return f"{len(finished)}/{len({(run.fold, run.seed) for run in self.runs})}"


@dataclass
class Summary:
    """All runs, their groups, the settings that differ, the shown metrics, and the best group by the objective."""

    runs: list[Run]
    groups: list[Group]
    varied: list[str]
    metrics: list[str]
    objective: str | None = None
    best: Group | None = None
    constant: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def headings(self) -> dict[str, Column]:
        """How the metrics are shown that only the kind of study of these runs has."""
        return {name: shown for run in self.runs if run.table is not None for name, shown in run.table.headings.items()}

    def column(self, name: str) -> Column:
        """Label, unit and direction of a metric of these runs."""
        return column(name, self.headings)

    @property
    def errors(self) -> list[str]:
        """Why groups have no mean."""
        return [group.error for group in self.groups if group.error]

    @property
    def over(self) -> str:
        """What the means are over: seeds, or folds."""
        return "folds" if any(run.fold is not None for run in self.runs) else "seeds"

    def to_markdown(self, baselines: str = "") -> str:
        """Groups, the best of them, then every run. baselines: a table in Markdown that follows the groups."""
        groups, intervals = [], []
        for group in self.groups:
            cells = [*(group.settings.get(key, "") for key in self.varied), group.seeds]
            cells += [_mean(group, name, self.column(name)) for name in self.metrics]
            groups.append([f"**{cell}**" if group is self.best and cell else cell for cell in cells])
            if any(count > 1 for _, _, count in group.metrics.values()):
                ends = [_interval(group, name, self.column(name)) for name in self.metrics]
                intervals.append([*(group.settings.get(key, "") for key in self.varied), *ends])
        rows = [
            [run.folder, *(run.settings.get(key, "") for key in self.varied)]
            + [*([run.fold or ""] if self.over == "folds" else []), run.seed or "", run.status]
            + [self.column(name).show(run.metrics.get(name)) for name in self.metrics]
            for run in self.runs
        ]
        best = None
        if self.best is not None:
            best = " ".join(f"{key}={value}" for key, value in self.best.settings.items() if key != "command")
        text = render(
            "sweep.md",
            runs=self.runs,
            constant=self.constant,
            varied=self.varied,
            labels=[self.column(name).markdown for name in self.metrics],
            groups=groups,
            over=self.over,
            intervals=intervals,
            best=best,
            baselines=baselines,
            objective=self.column(self.objective).markdown if self.objective else "",
            notes=[*self.errors, *self.notes],
            rows=rows,
            failures=[run for run in self.runs if run.status != "ok"],
        )
        return str(text)

    def to_rich(self) -> Table:
        """The groups for the terminal, the best in bold; columns that do not fit there are in the files."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"Mean ± standard deviation over {self.over}", title_justify="left", show_lines=True)
        wide = len(self.varied) > SETTINGS_SHOWN  # runs of different kinds: one column for all settings
        for name in ["settings"] if wide else self.varied:
            table.add_column(name, overflow="fold", min_width=30 if wide else 8)
        table.add_column("runs", no_wrap=True)
        metrics = self.metrics[: METRICS_SHOWN // 2 if wide else METRICS_SHOWN]
        for name in metrics:
            table.add_column(self.column(name).label, justify="right", min_width=9)
        for group in self.groups:
            cells = [group.settings.get(key, "") for key in self.varied]
            if wide:
                pairs = ((key, cell) for key, cell in zip(self.varied, cells, strict=True) if cell)
                cells = ["\n".join(cell if key == "command" else f"{key}={cell}" for key, cell in pairs)]
            cells.append(group.seeds)
            cells += [_mean(group, name, self.column(name)) for name in metrics]
            table.add_row(*map(escape, cells), style="bold" if group is self.best else "")
        if more := len(self.metrics) - len(metrics):
            table.caption = f"{more} more metrics in the files; choose by metrics=[...]"
        return table


def read_runs(*folders: str | Path) -> list[Run]:
    """The runs in these folders or below them, in the order of their names; InputError for a folder without any."""
    runs: set[Path] = set()
    for folder in map(Path, folders):
        below = set(_run_folders(folder))
        if not below:
            raise InputError(
                f"{folder} holds no run: no run.json or result.json in it or below; give the folder of a run or sweep"
            )
        runs |= below
    ordered = tracked(sorted(runs, key=_natural), "report", len(runs), "runs")
    root = Path(folders[0]) if len(folders) == 1 else Path(os.path.commonpath(runs))
    return [_read_run(path, root) for path in ordered]


def _run_folders(folder: Path) -> Iterator[Path]:
    for where, below, files in os.walk(folder):
        below[:] = [name for name in below if name not in NO_RUNS]
        if not {*MARKS}.isdisjoint(files):
            yield Path(where)


def summarise(runs: Sequence[Run], metrics: Sequence[str] = (), objective: str | None = None) -> Summary:
    """Group the runs by their resolved configs without the seed.

    metrics: the columns, by default those of the result table that the runs have, and the objective. objective: the
    metric that decides which group is best, by default the one in the runs' config; its name gives its direction.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    constant = {key: runs[0].settings[key] for key in keys if len({run.settings.get(key) for run in runs}) == 1}
    members = grouped(runs)
    varied = varied_keys(members)
    groups = []
    for same in members:
        error = conflict(same)
        groups.append(Group(same[0].settings, same, {} if error else spread(same), error))
    objective = objective or next((run.objective for run in runs if run.objective), None)
    measured = list(dict.fromkeys(name for run in runs for name in run.metrics))
    summary = Summary(list(runs), groups, varied, list(metrics), objective, None, constant, notes(groups))
    summary.metrics = summary.metrics or _default_metrics(measured, objective, summary.headings)
    summary.best = _best(summary)
    return summary


def _read_run(path: Path, root: Path) -> Run:
    record, result, job = (read_json(path / name) for name in MARKS)
    words = _yaml(path / "overrides.yaml") or job.get("overrides") or []
    pairs: dict[str, str] = dict(str(word).split("=", 1) for word in words if "=" in str(word))
    settings = {key: value for key, value in pairs.items() if not _NOT_SETTINGS.match(key)}
    if record.get("command"):
        settings = {"command": record["command"], **settings}
    seed, config = pairs.get("seed", (record.get("seeds") or {}).get("seed")), run_config(path)
    objective, fold = config.get("objective"), fold_of(config)
    costs = {name: result[name] for name in COSTS if result.get(name) is not None}
    return Run(
        folder=str(path.relative_to(root)) if path != root else path.name,
        status=result.get("status", "unfinished" if not job.get("exit") else "failed"),
        settings=settings,
        seed=None if seed is None else str(seed),
        metrics={name: float(value) for name, value in (_flat(result.get("metrics") or {}) | costs).items()},
        objective=objective,
        error=result.get("error"),
        config=settings_of(config, record),
        facts=facts_of(path, record),
        path=path,
        code=json.dumps([record.get("trimer"), record.get("git")]) if "git" in record else None,
        fold=fold,
        table=attempt(f"the baselines of {path.name}", _result_table, path),
    )


def _result_table(run: Path) -> ResultTable | None:
    """The results of a run on the test split, else on another one."""
    path = next((p for split in ("test", "val", "all") if (p := run / split / "table.json").is_file()), None)
    try:
        return None if path is None else ResultTable.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a result table ({error}); repeat the evaluation") from error


def _best(summary: Summary) -> Group | None:
    objective = summary.objective
    known = [group for group in summary.groups if objective in group.metrics]
    if objective is None or not known:
        return None
    choose = min if summary.column(objective).lower_is_better else max
    return choose(known, key=lambda group: group.metrics[objective][0])


def _default_metrics(measured: Sequence[str], objective: str | None, headings: Iterable[str]) -> list[str]:
    standard = ResultTable(rows=[{"values": {name.rpartition("/")[2]: 0 for name in measured}}]).columns
    wanted = [f"{split}/{name}" for split in _SPLITS for name in [*standard, *OF_LABELS, *headings, "loss"]]
    shown = [name for name in wanted if name in measured]
    # One split is enough: the validation split is shown if the test split was not evaluated.
    shown = [name for name in shown if name.startswith("test/")] or shown
    shown = shown or [name for name in measured if not name.endswith(ERROR) and "=" not in name][:8]
    if objective is None or objective not in measured:
        return shown
    return [objective, *(name for name in shown if name != objective)]


def _interval(group: Group, name: str, shown: Column) -> str:
    ends = interval(*group.metrics[name]) if name in group.metrics else None
    return " to ".join(shown.show(end) for end in ends) if ends else "–"


def _mean(group: Group, name: str, shown: Column) -> str:
    mean, deviation, _ = group.metrics.get(name, (None, None, 0))
    return shown.show(mean, deviation)


def _flat(values: Mapping, prefix: str = "") -> dict[str, float]:
    """Nested numbers under names joined by slashes; values that are not numbers are left out."""
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


def read_json(path: Path) -> dict:
    """The content of a JSON file of a run, empty if there is none; InputError if it is not JSON."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); delete the file or repeat the run") from error


def _yaml(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML ({error}); delete the file or repeat the run") from error
