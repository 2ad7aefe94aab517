"""Verdicts: better, worse or within error, never against the oracle or a method that cannot score."""

from __future__ import annotations

import math

import pytest

from trimer.reporting.table import ResultTable, column
from trimer.reporting.verdicts import judge, no_shared_molecules, verdict


def table(metric: str, own: tuple[float, float], **others: tuple[float, float]) -> ResultTable:
    """A table with a value and a standard error of each method; `_` in a name stands for a space."""
    shown = ResultTable()
    for method, (value, error) in others.items():
        shown.add(method.replace("_", " "), {metric: value, f"{metric}_std_error": error}, baseline=True)
    shown.add("mine", {metric: own[0], f"{metric}_std_error": own[1]})
    return shown


@pytest.mark.parametrize(
    ("difference", "error", "kind", "text"),
    [
        (0.05, 0.01, "better", "better than it by 0.050 ± 0.010"),
        (-0.05, 0.01, "worse", "worse than it by 0.050 ± 0.010"),
        (0.015, 0.01, "within", "within error of it: +0.015 ± 0.010"),
        (-0.015, 0.01, "within", "within error of it: −0.015 ± 0.010"),
        (0.0, 0.0, "within", "within error of it: 0.000 ± 0.000"),
        (0.05, math.nan, "unknown", "better than it by 0.050; without a standard error"),
        (-0.05, None, "unknown", "worse than it by 0.050; without a standard error"),
        (0.05, 0.0, "unknown", "better than it by 0.050; without a standard error"),
    ],
)
def test_a_difference_is_judged_by_its_standard_error(difference, error, kind, text):
    judged = judge(column("tanimoto@1"), difference, error, "it")
    assert judged.text == text
    assert (judged.kind, judged.sign) == (kind, {"better": "▲", "worse": "▼", "within": "≈", "unknown": "?"}[kind])


def test_the_rival_is_the_best_baseline_and_errors_of_both_are_added():
    shown = table("tanimoto@1", (0.30, 0.03), weak=(0.1, 0.01), strong=(0.2, 0.04), oracle_best=(0.9, 0.01))
    judged = verdict("tanimoto@1", "mine", shown)
    assert judged.text == "better than strong by 0.100 ± 0.050" and judged.method == "strong"
    assert judged.difference == pytest.approx(0.1)


def test_lower_is_better_for_errors():
    shown = table("rmse", (0.5, 0.01), mean=(1.0, 0.01), forest=(0.4, 0.01))
    assert verdict("rmse", "mine", shown).text.startswith("worse than forest by 0.100")
    assert verdict("rmse", "mine", table("rmse", (0.5, 0.01), mean=(1.0, 0.01))).kind == "better"


def test_the_paired_difference_of_the_table_is_used():
    shown = table("rmse", (0.5, 0.05), forest=(0.6, 0.05))
    shown.rows[0]["values"] |= {"rmse_difference": -0.1, "rmse_difference_std_error": 0.02}
    assert verdict("rmse", "mine", shown).text == "better than forest by 0.100 ± 0.020"


def test_a_p_value_above_the_level_is_within_error():
    """Of an accuracy the exact test counts, and not only the resamples within classes."""
    assert judge(column("accuracy"), 0.017, 0.008, "SVM", p=0.064).kind == "within"
    assert judge(column("accuracy"), 0.019, 0.008, "SVM", p=0.027).kind == "better"
    shown = table("accuracy", (0.92, 0.01), SVM=(0.90, 0.01))
    paired = {"accuracy_difference": 0.02, "accuracy_difference_std_error": 0.005, "accuracy_difference_p": 0.06}
    shown.rows[0]["values"] |= paired
    assert verdict("accuracy", "mine", shown).kind == "within"


def test_fractions_are_compared_in_percent():
    shown = table("accuracy", (0.9, 0.01), mean=(0.5, 0.0))
    assert verdict("accuracy", "mine", shown).text == "better than mean by 40.0 ± 1.0"


def test_there_is_no_comparison_with_an_undefined_metric():
    shown = table("spearman", (0.9, 0.01), mean=(math.nan, math.nan))
    assert verdict("spearman", "mine", shown).text == "not compared: the metric is undefined for every baseline"
    shown = table("spearman", (0.9, 0.01), mean=(math.nan, math.nan), forest=(0.5, 0.01))
    assert verdict("spearman", "mine", shown).method == "forest"
    assert verdict("spearman", "mine", table("spearman", (math.nan, math.nan), forest=(0.5, 0.01))).text == ""
    assert verdict("spearman", "mine", table("spearman", (0.5, 0.1))).kind == "none"


@pytest.mark.parametrize("evidence", ["oracle", "overlap"])
def test_lookups_that_cannot_hold_the_molecule_are_no_rivals(evidence):
    others = {"look-up": (0.0, 0.0)} | ({"oracle: best": (0.0, 0.0)} if evidence == "oracle" else {})
    shown = ResultTable()
    for method, (value, _) in others.items():
        shown.add(method, {"top10_accuracy": value, "tanimoto@1": 0.2}, baseline=True)
    shown.add("mine", {"top10_accuracy": 0.1, "tanimoto@1": 0.3})
    judged = verdict("top10_accuracy", "mine", shown, no_lookup=evidence == "overlap")
    assert judged.kind == "none" and "no look-up can be right" in judged.text and judged.sign == ""
    assert verdict("tanimoto@1", "mine", shown, no_lookup=True).method == "look-up", "its candidates can be similar"
    shown.add("library", {"top10_accuracy": 0.05}, baseline=True)
    assert verdict("top10_accuracy", "mine", shown, no_lookup=True).method == "library"


def test_lookups_are_rivals_where_molecules_are_shared():
    shown = table("top1_accuracy", (0.1, 0.01), look_up=(0.0, 0.0), oracle_best=(0.5, 0.01))
    assert verdict("top1_accuracy", "mine", shown).text.startswith("better than look up by 10.00")


def test_generated_text_is_compared_with_no_baseline():
    assert verdict("validity", "mine", table("validity", (0.9, 0.01), look_up=(1.0, 0.0))).text == ""


def test_the_overlap_of_molecules_is_read_from_the_report():
    row = {"part": "test", "key": "inchikey1", "values": 9, "shared_values": 0}
    assert no_shared_molecules("test", [row])
    assert not no_shared_molecules("val", [row]) and not no_shared_molecules("test", [])
    assert not no_shared_molecules("test", [row | {"shared_values": 1}])
