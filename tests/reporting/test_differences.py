"""The table of differences: the same numbers and verdicts in Markdown, JSON, on the terminal and on the page."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from trimer.reporting.differences import compared, for_result, metrics_of, not_compared, to_markdown, to_rich
from trimer.reporting.page import write_page
from trimer.reporting.table import ResultTable
from trimer.terminal_tables import print_table

METRICS = ["top1_accuracy", "tanimoto@1", "tanimoto@10", "formula_match@1", "formula_match@10"]


def differences(**amounts: tuple[float, float | None]) -> dict[str, float]:
    """Paired differences with their standard errors; `tanimoto_1` stands for `tanimoto@1`."""
    values = {}
    for name, (amount, error) in amounts.items():
        metric = name.replace("_1", "@1")
        values |= {metric: 0.2, f"{metric}_difference": amount}
        values |= {} if error is None else {f"{metric}_difference_std_error": error}
    return values


@pytest.fixture
def table() -> ResultTable:
    table = ResultTable(metrics=METRICS)
    cosine = differences(tanimoto_1=(0.05, 0.01), tanimoto_10=(-0.03, 0.01), formula_match_1=(0.7, 0.02))
    table.add("cosine look-up", {"top1_accuracy": 0.0, **cosine}, baseline=True)
    analogues = differences(tanimoto_1=(0.019, 0.01), tanimoto_10=(0.1, None))
    table.add("look-up of analogues", {"top1_accuracy": 0.0, **analogues}, baseline=True)
    table.add("oracle: best", differences(tanimoto_1=(-0.2, 0.01)), baseline=True)
    table.add("model", {"top1_accuracy": 0.1, "tanimoto@1": 0.25, "tanimoto@10": 0.3, "formula_match@1": 0.9})
    return table


def test_each_baseline_but_the_oracle_has_a_difference_with_error_and_verdict(table):
    assert to_markdown(table).splitlines()[2:6] == [
        "| Baseline | Tanimoto@1 | Tanimoto@10 | Formula@1 (%) |",
        "| :-- | --: | --: | --: |",
        "| cosine look-up | ▲ +0.050 ± 0.010 | ▼ -0.030 ± 0.010 | ▲ +70.0 ± 2.0 |",
        "| look-up of analogues | ≈ +0.019 ± 0.010 | ? +0.100 | – |",
    ]


def test_exact_hits_that_no_look_up_can_have_are_named_as_not_compared(table):
    shown = metrics_of(compared(table), table)
    assert not_compared(table, shown).startswith("Not compared: Top-1 accuracy (%); no molecule of this split")
    assert not_compared(table, ["top1_accuracy"]) == ""


def test_a_lower_error_is_better():
    table = ResultTable(metrics=["rmse"])
    table.add("forest", {"rmse": 1.0, "rmse_difference": -0.3, "rmse_difference_std_error": 0.1}, baseline=True)
    table.add("model", {"rmse": 0.7})
    assert "▲ -0.300 ± 0.100" in to_markdown(table)


def test_the_files_hold_both_tables_and_every_metric(table, tmp_path):
    table.rows[0]["values"] |= differences(mces_1=(-1.0, 0.2))
    table.save(tmp_path)
    assert "## Differences to the baselines" in (tmp_path / "table.md").read_text()
    records = json.loads((tmp_path / "table.json").read_text())["differences"]
    verdicts = {(row["method"], row["metric"]): row["verdict"] for row in records}
    assert verdicts["cosine look-up", "tanimoto@1"] == verdicts["cosine look-up", "mces@1"] == "better"
    assert verdicts["cosine look-up", "tanimoto@10"] == "worse"
    assert verdicts["look-up of analogues", "tanimoto@1"] == "within error"
    assert len(verdicts) == 6 and records[0]["difference"] == 0.05 and records[0]["std_error"] == 0.01
    assert ResultTable.from_dict(json.loads((tmp_path / "table.json").read_text())).rows == table.rows


def test_the_result_of_a_run_holds_the_columns_of_the_table(table):
    table.rows[0]["values"] |= differences(mces_1=(-1.0, 0.2))
    found = for_result(table)["differences"]
    assert list(found) == ["cosine look-up", "look-up of analogues"]
    assert list(found["cosine look-up"]) == ["tanimoto@1", "tanimoto@10", "formula_match@1"]
    analogues = found["look-up of analogues"]["tanimoto@1"]
    assert analogues["verdict"] == "within error" and analogues["difference"] == 0.019
    assert for_result(ResultTable()) == {}


def test_without_comparison_there_is_no_second_table(tmp_path):
    table = ResultTable(metrics=["rmse"])
    table.add("model", {"rmse": 0.7})
    table.save(tmp_path)
    assert to_markdown(table) == "" and to_rich(table) is None
    assert "Differences" not in (tmp_path / "table.md").read_text()
    assert "differences" not in json.loads((tmp_path / "table.json").read_text())


def test_the_terminal_shows_difference_and_error_at_80_columns(table):
    for row in table.rows[:2]:
        row["values"] |= differences(formula_match_10=(0.7, 0.02))
    console = Console(file=io.StringIO(), width=80)
    print_table(to_rich(table), console=console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and any("Formula@10" in line for line in lines)
    assert any("▲ +0.050" in line and "▼ -0.030" in line for line in lines)
    assert any("± 0.010" in line for line in lines)


def test_the_page_shows_the_verdict_in_words_sign_and_colour(table, tmp_path):
    page = write_page(tmp_path / "page.html", title="Spectra", table=table, predictions=[]).read_text()
    section = page[page.index("<h2>Differences to the baselines</h2>") :]
    section = section[: section.index("</section>")]
    assert section.count('class="verdict better"') == 2 and section.count('class="verdict worse"') == 1
    assert "> within error</span>" in section and "oracle" not in section and "Not compared" in section
