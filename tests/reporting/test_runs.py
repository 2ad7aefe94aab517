"""A sweep in one table: grouping over seeds, the best settings, failed runs."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from trimer.errors import InputError
from trimer.reporting.runs import read_runs, summarise
from trimer.reporting.spread import interval
from trimer.reporting.summary_files import write_summary


def run(folder: Path, overrides: list[str], metrics: dict | None, **result) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"command": "train", "seeds": {"seed": 0}}))
    (folder / "overrides.yaml").write_text("".join(f"- {word}\n" for word in overrides))
    (folder / "config.yaml").write_text("objective: val/loss\n")
    if metrics is not None or result:
        (folder / "result.json").write_text(json.dumps({"status": "ok", "metrics": metrics or {}, **result}))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for number, (lr, seed, loss) in enumerate(
        [("1e-3", 0, 1.0), ("1e-3", 1, 2.0), ("1e-4", 0, 3.0), ("1e-4", 1, 5.0), ("1e-5", 0, None), ("1e-5", 1, None)]
    ):
        words = [f"optimizer.lr={lr}", f"seed={seed}", "data=massbank", "hydra.run.dir=/somewhere"]
        metrics = None if loss is None else {"val/loss": loss, "test/tanimoto@1": loss / 10, "test/validity": 0.9}
        run(tmp_path / str(number + 7), words, metrics)
    (tmp_path / "11" / "result.json").write_text(json.dumps({"status": "failed", "error": "loss is NaN"}))
    return tmp_path


def test_runs_are_sorted_by_number(sweep):
    runs = read_runs(sweep)
    assert [run.folder for run in runs] == ["7", "8", "9", "10", "11", "12"]
    assert [run.status for run in runs] == ["ok"] * 4 + ["failed", "unfinished"]
    assert runs[0].settings == {"command": "train", "optimizer.lr": "1e-3", "data": "massbank"}
    assert runs[1].seed == "1"


def test_mean_and_deviation_over_seeds(sweep):
    summary = summarise(read_runs(sweep))
    assert summary.varied == ["optimizer.lr"]
    assert summary.constant == {"command": "train", "data": "massbank"}
    means = {group.settings["optimizer.lr"]: group.metrics.get("val/loss") for group in summary.groups}
    assert means["1e-3"] == pytest.approx((1.5, math.sqrt(0.5), 2))
    assert means["1e-5"] is None
    assert summary.best.settings["optimizer.lr"] == "1e-3"  # a loss: lower is better
    assert summary.metrics == ["val/loss", "test/tanimoto@1", "test/validity"]


def test_folds_of_a_cross_validation_count_once_whatever_their_seeds(tmp_path):
    losses = {0: (1.0, 3.0), 1: (4.0, 6.0), 2: (7.0, 9.0)}
    for fold, of_seeds in losses.items():
        for seed, loss in enumerate(of_seeds):
            folder = tmp_path / f"{2 * fold + seed}"
            run(folder, [f"data.split.fold={fold}", f"seed={seed}"], {"val/loss": loss})
            (folder / "config.yaml").write_text(f"objective: val/loss\ndata:\n  split: {{fold: {fold}, folds: 3}}\n")
            (folder / "split.json").write_text(json.dumps({"sha256": f"of fold {fold}"}))
    summary = summarise(read_runs(tmp_path))
    (group,) = summary.groups
    assert group.error is None and group.seeds == "6/6"
    assert group.metrics["val/loss"] == pytest.approx((5.0, 3.0, 3))  # over the means 2, 5 and 8 of the folds
    half = 4.302653 * 3.0 / math.sqrt(3)  # the quantile of Student's t with two degrees of freedom
    assert interval(5.0, 3.0, 3) == pytest.approx((5 - half, 5 + half), rel=1e-6)
    text = summary.to_markdown()
    assert "Mean ± standard deviation over folds" in text and "| -2.452 to 12.452 |" in text
    assert "| 5 | 2 | 1 | ok | 9.000 |" in text  # job, fold, seed
    write_summary(summary, tmp_path / "out")
    (row,) = csv.DictReader((tmp_path / "out" / "groups.csv").open())
    assert float(row["val/loss_ci95_high"]) == pytest.approx(5 + half)
    (tmp_path / "1" / "split.json").write_text(json.dumps({"sha256": "another"}))
    assert "0 and 1 have the same settings but split their data" in summarise(read_runs(tmp_path)).errors[0]


def test_each_objective_has_its_direction(sweep):
    summary = summarise(read_runs(sweep), objective="test/tanimoto@1", metrics=["test/tanimoto@1"])
    assert summary.best.settings["optimizer.lr"] == "1e-4"
    assert summary.metrics == ["test/tanimoto@1"]


def test_the_table_is_written_as_markdown_and_csv(sweep, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    paths = write_summary(summarise(read_runs(sweep)), out)
    text = (out / "summary.md").read_text()
    assert "| **1e-3** | **2/2** | **1.500 ± 0.707** |" in text
    assert "Best by val Loss: `optimizer.lr=1e-3 data=massbank`" in text
    assert "- `11`, failed: loss is NaN" in text
    assert "- `12`, unfinished: no reason was recorded" in text
    rows = list(csv.DictReader((out / "runs.csv").open()))
    assert len(rows) == 6
    assert rows[0]["optimizer.lr"] == "1e-3"
    assert rows[0]["test/tanimoto@1"] == "0.1"
    groups = list(csv.DictReader((out / "groups.csv").open()))
    assert groups[0]["val/loss_count"] == "2"
    assert [path.name for path in paths] == ["runs.csv", "groups.csv", "summary.md"]


def test_terminal_table_has_a_row_per_group(sweep):
    assert summarise(read_runs(sweep)).to_rich().row_count == 3


def test_runs_of_different_kinds_share_one_column_of_settings(tmp_path):
    metrics = [f"test/tanimoto@{k}" for k in range(1, 9)]
    for number in range(5):
        run(tmp_path / str(number), [f"key{number}=1", f"by{number}=[adduct]"], dict.fromkeys(metrics, 0.1))
    summary = summarise(read_runs(tmp_path), metrics=metrics)
    console = Console(width=80, file=io.StringIO())
    console.print(summary.to_rich())
    text = console.file.getvalue()
    assert "key3=1" in text and "by3=[adduct]" in text and "6 more metrics in the files" in text
    assert text.count("0.100") == 10 and max(map(len, text.splitlines())) <= 80


def test_a_single_run_has_a_table(tmp_path):
    run(tmp_path / "only", [], {"val/loss": 1.0, "val/tanimoto@1": 0.2})
    summary = summarise(read_runs(tmp_path / "only"))
    assert summary.metrics == ["val/loss", "val/tanimoto@1"]
    assert "only" in summary.to_markdown()


def test_a_job_that_died_before_its_start_is_listed(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "job.json").write_text(json.dumps({"overrides": ["optimizer.lr=1"], "exit": 1}))
    only = read_runs(tmp_path)[0]
    assert (only.status, only.settings) == ("failed", {"optimizer.lr": "1"})


def test_nested_numbers_null_and_text_are_read_from_results(tmp_path):
    run(tmp_path / "a", ["seed=1"], {"test": {"tanimoto@1": 0.2}, "note": "x", "val/loss": None})
    assert read_runs(tmp_path)[0].metrics == {"test/tanimoto@1": 0.2}


def test_a_folder_without_runs_and_a_broken_result_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        read_runs(tmp_path)
    run(tmp_path / "a", [], {"val/loss": 1.0})
    (tmp_path / "a" / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result\.json is not valid JSON"):
        read_runs(tmp_path)
