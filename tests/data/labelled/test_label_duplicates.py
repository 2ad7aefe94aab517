"""Sequences that occur more than once: what is counted, and what each way makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimer.data.labelled.label_duplicates import resolved

KEYS = np.array(["a", "b", "a", "c", "b", "a"], dtype=object)
ALL = np.ones(6, bool)


def test_mean_of_duplicates_and_noise():
    labels = np.array([[1.0], [5.0], [2.0], [9.0], [5.0], [3.0]], np.float32)
    out, used, duplicates = resolved(KEYS, labels, ALL, "mean", ["y"])
    assert used.tolist() == [True, True, False, True, False, False]
    assert out[used, 0].tolist() == [2, 5, 9] and labels[0, 0] == 1, "the input labels are not changed"
    assert (
        duplicates.sequences,
        duplicates.rows,
        duplicates.differing,
        duplicates.differing_rows,
        duplicates.removed,
    ) == (2, 5, 1, 3, 3)
    # (1 + 0 + 1 + 0 + 0) over 2 + 1 degrees of freedom
    assert duplicates.noise == {"y": pytest.approx(math.sqrt(2 / 3))}
    assert "standard deviation of 0.8165" in " ".join(duplicates.sentences("molecules", "mean"))


def test_missing_values_do_not_enter_the_mean():
    labels = np.array([[1.0, np.nan], [5.0, 1], [np.nan, 4.0], [9.0, 1], [7.0, np.nan], [np.nan, np.nan]])
    out, _, duplicates = resolved(KEYS, labels, ALL, "mean", ["y", "z"])
    assert out[0].tolist() == [1, 4] and out[1].tolist() == [6, 1]
    assert duplicates.differing == 1 and duplicates.noise == {"y": pytest.approx(math.sqrt(2))}


def test_majority_of_duplicates_and_ties():
    labels = np.array([1, 0, 1, 2, 1, 0])
    out, used, duplicates = resolved(KEYS, labels, ALL, "majority", [])
    assert used.tolist() == [True, False, False, True, False, False] and out[0] == 1
    assert duplicates.differing == 2 and duplicates.removed == 4


def test_drop_removes_all_rows_of_contradictory_duplicates_only():
    labels = np.array([[1.0], [0.0], [1.0], [1.0], [0.0], [0.0]])
    _, used, duplicates = resolved(KEYS, labels, ALL, "drop", [])
    assert used.tolist() == [False, True, False, True, True, False] and duplicates.removed == 3


def test_unused_rows_are_ignored():
    labels = np.array([1, 0, -1, 2, 0, -1])
    _, used, duplicates = resolved(KEYS, labels, labels >= 0, "drop", [])
    assert used.tolist() == (labels >= 0).tolist() and duplicates.differing == 0 and duplicates.sequences == 1
