"""Paired differences between two methods on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from trimer.metrics.intervals import paired_differences
from trimer.metrics.label_metrics import multi_label, regression, single_label


def measured_pair(right: np.ndarray, other: np.ndarray, bootstrap: int = 1000):
    """Two methods of three classes that are right on some rows."""
    labels = np.arange(len(right)) % 3

    def method(hits: np.ndarray):
        return single_label(np.eye(3)[np.where(hits, labels, (labels + 1) % 3)], labels, bootstrap=bootstrap)

    return method(right), method(other)


def test_a_difference_is_that_of_the_values_and_changes_its_sign_with_the_order():
    random = np.random.default_rng(0)
    one, two = measured_pair(random.random(300) < 0.9, random.random(300) < 0.8)
    there, back = paired_differences(one, two, ["accuracy"]), paired_differences(two, one, ["accuracy"])
    assert there["accuracy_difference"] == pytest.approx(one.values["accuracy"] - two.values["accuracy"])
    assert back["accuracy_difference"] == -there["accuracy_difference"]
    assert there["accuracy_difference_p"] == back["accuracy_difference_p"]
    low, high = there["accuracy_difference_ci95_low"], there["accuracy_difference_ci95_high"]
    assert low < there["accuracy_difference"] < high and there["accuracy_difference_std_error"] > 0


def test_pairing_is_sharper_than_two_separate_intervals():
    """Both methods fail on the same hard rows, so their difference varies less than either value."""
    random = np.random.default_rng(1)
    hard = random.random(600) < 0.3
    one, two = measured_pair(~hard, ~hard & (random.random(600) > 0.03))
    error = paired_differences(one, two, ["accuracy"])["accuracy_difference_std_error"]
    assert error < 0.6 * np.hypot(one.values["accuracy_std_error"], two.values["accuracy_std_error"])


@pytest.mark.parametrize("lead", [0.0, 0.02, 0.04])
def test_p_values_of_accuracy_are_those_of_mcnemars_test(lead):
    random = np.random.default_rng(2)
    base = random.random(900) < 0.8
    flips = random.random(900)
    one, two = base ^ (flips < 0.04), base ^ ((flips > 0.5) & (flips < 0.54))
    two &= ~(one & (random.random(900) < lead))
    pair = measured_pair(one, two)
    p = paired_differences(*pair, ["accuracy"])["accuracy_difference_p"]
    exact = binomtest(int((one & ~two).sum()), int((one ^ two).sum())).pvalue
    assert p == pytest.approx(exact)
    for measured in pair:
        measured.correct = None  # as of grouped rows
    assert paired_differences(*pair, ["accuracy"])["accuracy_difference_p"] == pytest.approx(exact, abs=0.1)


def test_a_single_row_is_no_evidence():
    """Resamples within classes always contain the only row of a class."""
    labels = np.array([0, 0, 0, 0, 0, 1])
    one, two = (single_label(np.eye(2)[predicted], labels) for predicted in (labels, np.zeros(6, int)))
    found = paired_differences(one, two, ["accuracy"])
    assert found["accuracy_difference"] == pytest.approx(1 / 6) and found["accuracy_difference_p"] == 1


def test_equal_predictions_have_a_difference_of_zero_and_a_p_value_of_one():
    one, two = measured_pair(np.arange(60) % 4 > 0, np.arange(60) % 4 > 0)
    found = paired_differences(one, two, ["accuracy", "auroc"])
    assert found["accuracy_difference"] == found["auroc_difference"] == 0
    assert found["accuracy_difference_p"] == found["auroc_difference_p"] == 1


def test_the_smallest_p_value_is_two_in_the_number_of_resamples():
    labels = np.random.default_rng(3).normal(size=90)
    one, two = (regression(labels + error, labels, bootstrap=199) for error in (0.1, 0.5))
    found = paired_differences(one, two, ["rmse"])
    assert found["rmse_difference"] == pytest.approx(-0.4) and found["rmse_difference_p"] == pytest.approx(0.01)


def test_means_over_tasks_are_compared_only_over_the_same_tasks():
    labels = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]] * 10)
    good, constant = labels + 0.1, np.stack([labels[:, 0] + 0.2, np.ones(40)], 1)
    found = paired_differences(regression(good, labels), regression(constant, labels), ["rmse", "spearman"])
    assert found["rmse_difference"] < 0 and "spearman_difference" not in found
    yes = (labels > 1).astype(float)
    pair = [multi_label(np.clip(yes * share + 0.1, 0, 1), yes) for share in (0.8, 0.0)]
    assert paired_differences(*pair, ["auroc"])["auroc_difference"] == pytest.approx(0.5)


def test_undefined_metrics_and_no_resamples_have_no_difference():
    one, two = measured_pair(np.ones(30, bool), np.zeros(30, bool), bootstrap=0)
    assert paired_differences(one, two, ["accuracy"]) == {}
    only = single_label(np.eye(2)[[0, 0, 0]], np.zeros(3, int))
    assert paired_differences(only, only, ["auroc"]) == {}
