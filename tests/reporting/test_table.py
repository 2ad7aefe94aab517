"""The result table: order of its rows, what is best, units, and its three formats."""

from __future__ import annotations

import csv
import io
import json
import math

from rich.console import Console

from trimer.reporting.table import ResultTable, column


def example() -> ResultTable:
    table = ResultTable(k=[1, 10])
    table.add("model", {"top1_accuracy": 0.012, "tanimoto@1": 0.25, "tanimoto@1_std_error": 0.013, "validity": 0.97})
    table.add("random training molecule", {"top1_accuracy": 0.0, "tanimoto@1": 0.09, "validity": 1.0}, baseline=True)
    table.add("cosine look-up", {"top1_accuracy": 0.0, "tanimoto@1": 0.2}, baseline=True)
    table.add("oracle: most similar", {"top1_accuracy": 0.0, "tanimoto@1": 0.436}, baseline=True)
    return table


def test_baselines_come_first_then_their_bound_then_methods():
    kinds = [(row["method"], row["kind"]) for row in example().ordered()]
    assert kinds == [
        ("random training molecule", "baseline"),
        ("cosine look-up", "baseline"),
        ("oracle: most similar", "bound"),
        ("model", "method"),
    ]


def test_the_bound_is_never_best_and_shares_are_in_per_cent():
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


def test_one_method_alone_is_not_called_best():
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


def test_json_round_trip_with_what_is_not_a_number(tmp_path):
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


def test_names_become_labels():
    assert column("test/top10_accuracy").label == "test Top-10 accuracy (%)"
    assert column("tanimoto@5").label == "Tanimoto@5"
    assert column("precursor_within_10ppm@1").label == "Within 10 ppm@1 (%)"
    assert column("formula_match@1_formula_known").label == "Formula@1 (%), formula known"
    assert column("mces@1").lower_is_better
    assert column("val/loss").lower_is_better
    assert column("something_else").label == "something_else"
