"""The result of an evaluation as a table for notebooks, pandas and pyarrow, and as a plot."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from trimer.errors import InputError
from trimer.evaluation.evaluation import Evaluation
from trimer.reporting.table import ResultTable


@dataclass
class Accuracy(Evaluation):
    table: ResultTable
    metrics: dict[str, float]


@pytest.fixture
def evaluation() -> Accuracy:
    table = ResultTable(metrics=("accuracy", "mcc"))
    table.add("my run", {"accuracy": 0.75, "accuracy_std_error": 0.05, "mcc": float("nan")})
    table.add("majority", {"accuracy": 0.5}, baseline=True)
    return Accuracy(table, {"accuracy": 0.75})


def test_metrics_have_the_name_of_the_split(evaluation):
    assert evaluation.split_metrics("test") == {"test/accuracy": 0.75}


def test_pandas_and_arrow_have_a_row_for_each_method(evaluation):
    frame = evaluation.to_pandas()
    assert frame["method"].tolist() == ["majority", "my run"] and frame["kind"].tolist() == ["baseline", "method"]
    assert frame["accuracy"].tolist() == [0.5, 0.75] and frame["mcc"].isna().all()
    assert evaluation.to_arrow().to_pylist()[1]["accuracy_std_error"] == 0.05


def test_a_notebook_shows_the_metrics_of_the_table(evaluation):
    html = evaluation._repr_html_()
    assert "<td>majority</td><td>0.5</td>" in html and "std_error" not in html


def test_the_plot_has_a_bar_for_each_method_with_the_metric(evaluation):
    axes = evaluation.plot()
    assert [bar.get_width() for bar in axes.patches] == [50, 75] and axes.get_xlabel() == "Accuracy (%)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["majority", "my run"]
    with pytest.raises(InputError, match=r"no method has the metric acuracy; did you mean accuracy"):
        evaluation.plot("acuracy")
