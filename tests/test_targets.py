"""Each kind of labels says how it is decided, measured and shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimer.errors import ConfigError
from trimer.targets import TARGETS, UNLABELLED, target_of

HALF = np.array([0.5, 0.5])


def test_a_kind_is_found_by_its_word():
    assert list(TARGETS) == ["single", "multi", "regression", "residue"], "configs and checkpoints hold these words"
    assert all(target_of(name).name == name for name in TARGETS)
    with pytest.raises(ConfigError, match="several must be one of single, multi, regression, residue"):
        target_of("several")


def test_errors_of_classes_labels_and_numbers():
    classes = target_of("single").errors(np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0, 0]), HALF)
    assert classes.tolist() == [0, 1]
    probabilities = np.array([[0.9, 0.2], [0.9, 0.2], [0.5, 0.5]])
    labels = np.array([[1, 1], [1, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(target_of("multi").errors(probabilities, labels, HALF), [0.5, 0, np.nan])
    numbers = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[2.0, 4.0], [np.nan, 1.0]])
    assert target_of("regression").errors(*numbers, None).tolist() == [1.5, 1.0]
    assert target_of("residue").errors(np.array([[0.5, 0.5]]), np.array([0]), HALF) is None


def test_the_mean_loss_leaves_out_missing_labels_and_is_finite():
    labels = np.array([[1.0, np.nan]])
    assert target_of("multi").mean_loss(np.array([[0.5, 0.0]]), labels, HALF) == pytest.approx(np.log(2))
    assert target_of("regression").mean_loss(np.array([[3.0, 0.0]]), labels, HALF) == 16
    assert target_of("single").mean_loss(np.array([[0.0, 1.0]]), np.array([0]), HALF) < 20


@pytest.mark.parametrize(("name", "words"), [("single", "one of 3 classes"), ("multi", "3 yes-or-no labels"),
                                             ("regression", "3 numbers"),
                                             ("residue", "one of 3 classes for each residue")])  # fmt: skip
def test_a_row_has_a_value_for_each_column(name, words):
    target, classes = target_of(name), ["A", "B", "C"]
    assert target.in_words(classes) == words
    predicted = target.probabilities(torch.tensor([[1.0, 2.0, 0.0]])).numpy()
    row = target.row(predicted, classes, np.full(3, 0.4), [1.0, float("nan"), 2.0])
    columns = dict(zip(target.columns(classes), row, strict=True))
    assert len(columns) == len(row) and set(target.outputs(classes)) <= set(columns)
    if name == "regression":
        assert columns["B_low"] is None and columns["C_high"] == columns["C"] + 2


def test_labels_that_are_missing_are_not_compared():
    labels = torch.tensor([1, UNLABELLED, 0])
    assert labels[target_of("residue").known(labels)].tolist() == [1, 0]
    assert target_of("residue").outputs_of([5, 3]) == [3, 1] and target_of("multi").outputs_of([5, 3]) == [1, 1]
    assert target_of("single").thresholds(np.array([1.0, 3.0])) == pytest.approx([0.75, 0.25])
    assert target_of("multi").thresholds(np.array([1.0, 3.0])) == pytest.approx([0.5, 0.25])
