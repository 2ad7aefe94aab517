"""The worst predictions come first, and right ones not at all."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.evaluation.label_evaluation import LabelEvaluation
from trimer.evaluation.largest_errors import mistakes
from trimer.reporting.table import ResultTable


def evaluation(target: str, predictions, labels, classes) -> LabelEvaluation:
    predictions, labels = np.array(predictions), np.array(labels)
    ids = [f"row {row}" for row in range(len(predictions))]
    texts = ["C" * (row + 1) for row in range(len(predictions))]
    return LabelEvaluation(ResultTable(metrics=["mcc"]), {}, target, classes, ids, texts, predictions, labels)


def test_classes():
    predictions = [[0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.6, 0.4]]
    worst = mistakes(evaluation("single", predictions, [0, 0, 0, 1], ["a", "b"]), "molecule")
    assert [row["id"] for row in worst] == ["row 2", "row 1", "row 3"]
    assert worst[0] == {"id": "row 2", "molecule": "CCC", "true": "a", "predicted": "b", "probability": 0.95}
    assert len(mistakes(evaluation("single", predictions, [0, 0, 0, 1], ["a", "b"]), most=1)) == 1


def test_errors_of_several_labels_ignore_missing_labels():
    worst = mistakes(evaluation("multi", [[0.9, 0.2], [0.6, 0.99]], [[0.0, 0.0], [np.nan, 0.0]], ["x", "y"]))
    assert [(row["id"], row["label"], row["true"]) for row in worst] == [("row 1", "y", "no"), ("row 0", "x", "no")]
    assert worst[0]["probability of yes"] == pytest.approx(0.99)


def test_numeric_errors_are_in_units_of_the_standard_deviation():
    labels = [[0.0, 0.0], [1.0, 1000.0], [2.0, 2000.0]]
    predictions = [[0.0, 100.0], [3.0, 1000.0], [2.0, 2000.0]]
    worst = mistakes(evaluation("regression", predictions, labels, ["small", "large"]))
    assert [(row["label"], row["error"]) for row in worst] == [("small", 2.0), ("large", 100.0)]
    single_task = mistakes(evaluation("regression", [[2.0], [5.0]], [[1.0], [1.0]], ["same"]))
    assert [row["error"] for row in single_task] == [4.0, 1.0] and "label" not in single_task[0]


def test_residue_labels_have_no_list_and_reasons_cover_the_shown_columns():
    assert mistakes(evaluation("residue", [[0.1, 0.9]], [0], ["a", "b"])) == []
    result = evaluation("single", [[0.9, 0.1]], [0], ["a", "b"])
    result.table.add("mine", {"mcc": np.nan})
    result.undefined = {"mine": {"mcc": "only class a occurs", "auroc": "only class a occurs"}}
    assert result.reasons() == [{"method": "mine", "metric": "MCC", "why": "only class a occurs"}]
