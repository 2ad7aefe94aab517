"""The runs of a sweep as Markdown and CSV: means with intervals, baselines, and every run, as on the page."""

from __future__ import annotations

from pathlib import Path

from trimer.files import write_csv, write_text
from trimer.reporting.runs import Summary
from trimer.reporting.shown_runs import Shown, baseline_table, label_of
from trimer.reporting.spread import with_interval
from trimer.reporting.table import ERROR, HIGH, LOW, ResultTable

STATISTICS = ("", "_std", "_count", LOW, HIGH)
OF_MEANS = {0: "mean", 1: "std", 3: "ci95_low", 4: "ci95_high"}  # position in STATISTICS -> status of a row


def write_summary(summary: Summary, folder: str | Path) -> list[Path]:
    """Write `runs.csv` (all settings and metrics), `groups.csv`, `baselines.csv` if there are any, and `summary.md`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "runs.csv", folder / "groups.csv", folder / "summary.md"]
    settings, measured = _columns(summary)
    groups: list[list[object]] = []
    for group in summary.groups:
        values = [value for name in measured for value in with_interval(group.metrics.get(name))]
        groups.append([len(group.runs), *(group.settings.get(key) for key in settings), *values])
    names = [f"{name}{suffix}" for name in measured for suffix in STATISTICS]
    write_csv(paths[1], ["runs", *settings, *names], groups)
    write_csv(paths[0], *_runs(summary))
    write_markdown(summary, paths[2])
    if baselines := _baselines(summary):
        paths.insert(2, folder / "baselines.csv")
        write_csv(paths[2], ["method", *(name.replace(ERROR, "_std") for name in baselines[0][1])], [
            [method, *values.values()] for method, values in baselines
        ])  # fmt: skip
    return paths


def write_markdown(summary: Summary, path: Path) -> None:
    """Write groups with their intervals, baselines of the test split, and every run."""
    table = baseline_table(Shown.of(summary))
    write_text(path, summary.to_markdown(table.to_markdown() if table.rows else ""))


def write_table(summary: Summary, path: Path) -> None:
    """Write all runs and below them, with another `status`, means, their 95 % intervals, and baselines.

    status: that of the run; mean, std, ci95_low and ci95_high of a group with several seeds or folds; baseline.
    """
    columns, rows = _runs(summary)
    settings, measured = _columns(summary)
    shown = Shown.of(summary)
    for group in summary.groups:
        if any(count > 1 for _, _, count in group.metrics.values()):
            for place, status in OF_MEANS.items():
                row = dict.fromkeys(columns) | {"folder": label_of(shown, group), "status": status}
                row |= {key: group.settings.get(key) for key in settings}
                row |= {name: with_interval(group.metrics.get(name))[place] for name in measured}
                rows.append([row[name] for name in columns])
    for method, values in _baselines(summary):
        row = dict.fromkeys(columns) | {"folder": method, "status": "baseline"}
        row |= {f"test/{name}": value for name, value in values.items() if f"test/{name}" in row}
        rows.append([row[name] for name in columns])
    write_csv(path, columns, rows)


def _baselines(summary: Summary) -> list[tuple[str, dict[str, float | None]]]:
    """Each baseline with the mean of all its metrics over the runs, and their standard deviations."""
    table: ResultTable = baseline_table(Shown.of(summary))
    rows = [row for row in table.ordered() if row["kind"] != "method"]
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    return [(row["method"], {name: row["values"].get(name) for name in names}) for row in rows]


def _runs(summary: Summary) -> tuple[list[str], list[list[object]]]:
    """A row for each run with all its settings and metrics, and the names of the columns."""
    settings, measured = _columns(summary)
    folds = ["fold"] if summary.over == "folds" else []
    rows: list[list[object]] = []
    for run in summary.runs:
        values = [*(run.settings.get(key) for key in settings), *(run.metrics.get(name) for name in measured)]
        rows.append([run.folder, run.status, run.seed, *([run.fold] if folds else []), *values, run.error])
    return ["folder", "status", "seed", *folds, *settings, *measured, "error"], rows


def _columns(summary: Summary) -> tuple[list[str], list[str]]:
    """The settings and the metrics of the tables."""
    settings = [*summary.constant, *summary.varied, *(key for run in summary.runs for key in run.settings)]
    return list(dict.fromkeys(settings)), list(dict.fromkeys(name for run in summary.runs for name in run.metrics))
