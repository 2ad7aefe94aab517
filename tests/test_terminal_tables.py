"""Tables fit the terminal: no line is too long, no number is cut, and omitted columns are named."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trimer.reporting.table import ResultTable
from trimer.terminal_tables import print_table

METHODS = ["random training molecule", "nearest precursor m/z", "oracle: most similar training molecule", "my_run"]
METRICS = ["top1_accuracy", "top5_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "validity", "uniqueness"]


def results(methods: int = 4) -> ResultTable:
    table = ResultTable()
    for number, method in enumerate((METHODS * 4)[:methods]):
        name = method if number < 4 else f"{method} {number}"
        table.add(name, {metric: 0.1234 for metric in METRICS}, baseline=not method.startswith("my"))
    return table


def printed(table, width: int, file: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(table, file, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("methods", [2, 4, 12])
def test_lines_fit_the_terminal(width, methods):
    text = printed(results(methods).to_rich("test split", errors=False), width, "table.md")
    table = [line for line in text.splitlines() if not line.startswith("Not shown")]
    assert max(map(len, table)) <= width
    assert text.count("0.123") + text.count("12.34") >= 2 * methods  # values are not cut


def test_a_wide_terminal_shows_all_columns():
    text = printed(results().to_rich(errors=False), 160)
    assert "Method" in text and "Tanimoto@10" in text and "Not shown" not in text


def test_a_narrow_terminal_shows_the_table_transposed():
    text = printed(results().to_rich(errors=False), 80)
    assert "Top-10 accuracy (%)" in text and "Unique (%)" in text
    assert "Method" not in text and "Not shown" not in text


def test_omitted_columns_are_named_with_the_file_of_the_full_table():
    text = printed(results(12).to_rich(errors=False), 60, "runs/a/test/table.md")
    assert "Top-1" in text
    assert "Not shown at this width: " in text and "Unique (%); the whole table is in runs/a/test/table.md" in text
