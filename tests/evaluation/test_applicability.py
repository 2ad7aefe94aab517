"""The error of a model by applicability."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.evaluation.applicability import COLUMNS, errors_by_applicability
from trimer.evaluation.label_evaluation import LabelEvaluation
from trimer.reporting.table import ResultTable


def evaluation(target: str, predictions, labels, thresholds=None) -> LabelEvaluation:
    predictions, labels = np.array(predictions), np.array(labels)
    ids = [str(row) for row in range(len(labels))]
    return LabelEvaluation(ResultTable(), {}, target, ["A", "B"], ids, ids, predictions, labels, thresholds)


def test_groups_are_ordered_by_applicability_and_hold_every_known_record_once():
    applicability = np.array([0.9, 0.1, np.nan, 0.5, 0.2, 0.8])
    rows = errors_by_applicability(applicability, np.array([0, 1, 1, 1, np.nan, 0.0]), groups=2)
    assert [(row["lowest"], row["highest"], row["records"], row["error"]) for row in rows] == [
        (0.1, 0.5, 2, 1.0), (0.8, 0.9, 2, 0.0),
    ]  # fmt: skip
    assert tuple(rows[0]) == COLUMNS
    assert errors_by_applicability(np.array([np.nan]), np.array([1.0])) == []
    assert len(errors_by_applicability(np.array([0.1, 0.2]), np.array([1.0, 0.0]))) == 2


def test_the_column_is_written_where_it_is_known():
    result = evaluation("single", [[0.7, 0.3], [0.2, 0.8]], [0, 0], np.array([0.5, 0.5]))
    assert "applicability" not in result.prediction_columns()
    result.applicability = np.array([0.25, np.nan])
    assert result.prediction_columns()["applicability"] == [pytest.approx(0.25), None]
