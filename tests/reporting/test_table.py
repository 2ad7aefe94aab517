"""The result table: row order, best values, units, and its three formats."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
from rich.console import Console

from trimer.metrics.intervals import SPREAD
from trimer.metrics.label_metrics import multi_label, regression, single_label
from trimer.reporting.differences import to_markdown
from trimer.reporting.table import _OF_LABELS, Column, ResultTable, column


def example() -> ResultTable:
    table = ResultTable(k=[1, 10])
    table.add("model", {"top1_accuracy": 0.012, "tanimoto@1": 0.25, "tanimoto@1_std_error": 0.013, "validity": 0.97})
    table.add("random training molecule", {"top1_accuracy": 0.0, "tanimoto@1": 0.09, "validity": 1.0}, baseline=True)
    table.add("cosine look-up", {"top1_accuracy": 0.0, "tanimoto@1": 0.2}, baseline=True)
    table.add("oracle: most similar", {"top1_accuracy": 0.0, "tanimoto@1": 0.436}, baseline=True)
    return table


def test_baselines_come_first_then_the_oracle_then_methods():
    kinds = [(row["method"], row["kind"]) for row in example().ordered()]
    assert kinds == [
        ("random training molecule", "baseline"),
        ("cosine look-up", "baseline"),
        ("oracle: most similar", "bound"),
        ("model", "method"),
    ]


def test_the_oracle_is_never_best_and_fractions_are_shown_in_percent():
    lines = example().to_markdown().splitlines()
    assert lines[0] == "| Method | Top-1 accuracy (%) | Tanimoto@1 | Valid (%) |"
    assert lines[4] == "| _oracle: most similar_ | 0.00 | 0.436 | – |"
    assert lines[5] == "| model | **1.20** | **0.250 ± 0.013** | 97.0 |"


def test_lower_is_better_for_errors():
    table = ResultTable(metrics=["precursor_ppm@1", "loss"])
    table.add("a", {"precursor_ppm@1": 3.0, "loss": 1.0})
    table.add("b", {"precursor_ppm@1": 30.0, "loss": 2.0})
    assert table.best("precursor_ppm@1") == 3.0
    assert table.best("loss") == 1.0


def test_a_single_method_is_not_marked_best():
    table = ResultTable(k=[1])
    table.add("model", {"tanimoto@1": 0.2})
    assert "**" not in table.to_markdown()


def test_a_method_added_again_replaces_its_row():
    table = example()
    table.add("model", {"tanimoto@1": 0.3})
    assert [row["values"]["tanimoto@1"] for row in table.rows if row["method"] == "model"] == [0.3]


def test_csv_keeps_every_value_unrounded():
    rows = list(csv.DictReader(io.StringIO(example().to_csv())))
    assert rows[-1]["tanimoto@1_std_error"] == "0.013"
    assert rows[1]["validity"] == ""
    assert rows[2]["kind"] == "bound"


def test_json_round_trip_keeps_nan(tmp_path):
    table = example()
    table.add("broken", {"tanimoto@1": math.nan, "precursor_ppm@1": math.inf})
    paths = table.save(tmp_path / "new")
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.json"]
    read = ResultTable.from_dict(json.loads(paths[2].read_text()))
    assert read.to_markdown() == table.to_markdown()
    assert "| broken | – | – | – |" in read.to_markdown()


def test_terminal_table_shows_every_method():
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(example().to_rich("test split"))
    text = console.export_text()
    assert "test split" in text
    assert all(row["method"] in text for row in example().rows)


def test_metric_names_become_readable_labels():
    assert column("test/top10_accuracy").label == "test Top-10 accuracy (%)"
    assert column("tanimoto@5").label == "Tanimoto@5"
    assert column("precursor_within_10ppm@1").label == "Within 10 ppm@1 (%)"
    assert column("formula_match@1_formula_known").label == "Formula@1 (%), formula known"
    assert column("mces@1").lower_is_better
    assert column("val/loss").lower_is_better
    assert column("accuracy").label == "Accuracy (%)"
    assert column("test/top3_accuracy").label == "test Top-3 accuracy (%)"
    assert column("NR-AR/auroc").label == "NR-AR AUROC"
    assert column("something_else").label == "something_else"


def test_markdown_shows_the_name_of_a_token_as_code():
    """A bare `<mask>` is read as HTML, and readers see nothing of it."""
    table = ResultTable(metrics=["hidden_perplexity"])
    table.add("m", {"hidden_perplexity": 3.5, "hidden_perplexity_difference": -1.0})
    table.add("b", {"hidden_perplexity": 4.5, "hidden_perplexity_difference": -1.0}, baseline=True)
    assert "| Method | Perplexity at `<mask>` |" in table.to_markdown()
    assert "| Baseline | Perplexity at `<mask>` |" in to_markdown(table)
    assert column("hidden_perplexity").label == "Perplexity at <mask>", "on the terminal and on pages"


def test_label_metrics_have_labels_and_directions():
    lower = [name for name in _OF_LABELS if column(name).lower_is_better]
    assert lower == ["cross_entropy", "ece", "rmse", "mae", "p95_error", "interval_width"]
    table = ResultTable(metrics=["accuracy", "balanced_accuracy", "mcc", "r2", "rmse"])
    table.add("majority", {"accuracy": 0.5, "balanced_accuracy": 0.5, "mcc": 0.0, "r2": 0.0, "rmse": 2.0}, True)
    values = {"accuracy": 0.8924, "accuracy_std_error": 0.013, "balanced_accuracy": 0.85, "mcc": 0.616, "r2": math.nan}
    table.add("model", {**values, "rmse": 1.0})
    lines = table.to_markdown().splitlines()
    assert lines[0] == "| Method | Accuracy (%) | Balanced accuracy (%) | MCC | R² | RMSE |"
    assert lines[3] == "| model | **89.2 ± 1.3** | **85.0** | **0.616** | – | **1.000** |"


def test_every_metric_that_is_measured_has_a_column():
    half = np.full((4, 4), 0.25)
    measured = [
        single_label(half, np.arange(4), bootstrap=2),
        multi_label(half, np.eye(4), bootstrap=2),
        regression(half, np.eye(4), bootstrap=2),
    ]
    for name in (name for metrics in measured for name in metrics.values if not name.endswith(SPREAD)):
        task, _, metric = name.rpartition("/")
        assert column(name).label != f"{task} {metric}".strip()


def test_a_difference_has_its_sign_its_error_and_a_p_value_and_is_never_the_best():
    table = ResultTable(metrics=["accuracy", "accuracy_difference"])
    paired = {"accuracy_difference": 0.031, "accuracy_difference_std_error": 0.011, "accuracy_difference_p": 0.0061}
    table.add("forest", {"accuracy": 0.89, **paired}, baseline=True)
    table.add("worse", {"accuracy": 0.95, "accuracy_difference": -0.029, "accuracy_difference_p": 1.0}, baseline=True)
    table.add("mine", {"accuracy": 0.921})
    lines = table.to_markdown().splitlines()
    assert lines[0] == "| Method | Accuracy (%) | Model minus this (p) |"
    assert lines[2:] == [
        "| forest | 89.0 | +3.1 ± 1.1 (0.006) |",
        "| worse | **95.0** | -2.9 (1.000) |",
        "| mine | 92.1 | – |",
    ]
    assert "accuracy_difference_p" in table.to_csv().splitlines()[0]


def test_without_baselines_there_is_no_column_of_differences():
    table = ResultTable(metrics=["accuracy", "accuracy_difference"])
    table.add("mine", {"accuracy": 0.921})
    assert table.columns == ["accuracy"]


def test_metrics_of_a_new_kind_of_study_are_shown_as_its_table_says(tmp_path):
    headings = {"misplaced": Column("Misplaced (%)", 100, 1, lower_is_better=True)}
    table = ResultTable(headings=headings)
    table.add("shortest first", {"misplaced": 0.4}, baseline=True)
    table.add("model", {"misplaced": 0.1})
    table.save(tmp_path)
    again = ResultTable.from_dict(json.loads((tmp_path / "table.json").read_text()))
    assert again.headings == headings and again.columns == ["misplaced"] and again.best("misplaced") == 0.1
    assert "| Misplaced (%) |" in again.to_markdown() and "**10.0**" in again.to_markdown()
    assert again.column("test/misplaced").label == "test Misplaced (%)"
