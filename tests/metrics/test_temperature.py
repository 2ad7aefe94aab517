"""Calibration: the expected calibration error, and temperatures that correct overconfident logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from trimer.metrics import temperature as calibration
from trimer.metrics.label_metrics import single_label
from trimer.metrics.temperature import confidences, error_of_bins, fit_temperature, fit_temperatures


def honest(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels sampled from their probabilities."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(rows, classes))
    probabilities = softmax(logits, axis=1)
    return logits, (probabilities.cumsum(1) < random.random((rows, 1))).sum(1)


def class_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error of classes, as in result tables."""
    return single_label(probabilities, labels, bootstrap=0).values["ece"]


def test_calibration_error_agrees_with_a_hand_calculation():
    """Class 1: two rows at .1, one of them true; one at .35, false; one at .65, true: (2 |.5 - .1| + .35 + .35) / 4."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.65, 0.35], [0.35, 0.65]])
    labels = np.array([0, 1, 0, 1])
    assert error_of_bins(*confidences(probabilities, labels), 10) == pytest.approx(0.375)
    assert class_error(probabilities, labels) == pytest.approx(0.375)
    assert math.isnan(error_of_bins(np.zeros(0), np.zeros(0)))


def test_calibration_error_agrees_with_torchmetrics():
    logits, labels = honest(500, 4)
    probabilities = softmax(3 * logits, axis=1)
    theirs = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), 4, n_bins=15)
    assert error_of_bins(*confidences(probabilities, labels)) == pytest.approx(theirs.item(), abs=1e-6)
    one = [
        binary_calibration_error(torch.tensor(probabilities[:, c]), torch.tensor(labels == c).long(), n_bins=15).item()
        for c in range(4)
    ]
    assert class_error(probabilities, labels) == pytest.approx(np.mean(one), abs=1e-6)
    yes = (labels == 1).astype(float)
    theirs = binary_calibration_error(torch.tensor(probabilities[:, 1]), torch.tensor(yes).long(), n_bins=15)
    assert error_of_bins(*confidences(probabilities[:, 1], yes)) == pytest.approx(theirs.item(), abs=1e-6)


def test_missing_labels_do_not_enter_the_calibration_error():
    probabilities, labels = np.array([[0.2, 0.9], [0.7, 0.4]]), np.array([[0.0, np.nan], [np.nan, 1.0]])
    assert error_of_bins(*confidences(probabilities, labels)) == pytest.approx((0.2 + 0.6) / 2)


def test_the_upper_edge_of_a_bin_belongs_to_it():
    assert calibration.bin_of(np.array([0.0, 0.1, 0.2, 0.21, 1.0]), 10).tolist() == [0, 0, 1, 2, 9]


def test_a_temperature_corrects_overconfident_logits():
    logits, labels = honest(4000, 5)
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * fit_temperature(logits, labels), rel=1e-6)
    before, after = (softmax(3 * logits / t, axis=1) for t in (1.0, fit_temperature(3 * logits, labels)))
    assert class_error(before, labels) > 0.08
    assert class_error(after, labels) < 0.015


def test_an_overpredicted_rare_class_has_a_large_calibration_error():
    """The error of the predicted class alone misses it: 51 of 1,000 rows are of class 1, and all have .472."""
    labels = (np.arange(1000) < 51).astype(int)
    probabilities = np.tile([0.528, 0.472], (1000, 1))
    assert class_error(probabilities, labels) == pytest.approx(0.421)


def test_the_fitted_temperature_maximizes_the_likelihood():
    logits, labels = honest(300, 3)
    best = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return single_label(softmax(logits / temperature, axis=1), labels, bootstrap=0).values["cross_entropy"]

    assert loss(best) < min(loss(best * 1.01), loss(best / 1.01))


def test_binary_temperatures_ignore_missing_labels():
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(3000, 2))
    labels = (random.random((3000, 2)) < expit(logits)).astype(float)
    full = fit_temperature(2 * logits[:, :1], labels[:, :1])
    assert full == pytest.approx(2, rel=0.1)
    labels[:, 1] = np.nan
    assert fit_temperature(2 * logits, labels) == full


def test_each_label_with_enough_of_both_classes_has_its_temperature():
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(3000, 3))
    labels = (random.random((3000, 3)) < expit(logits)).astype(float)
    labels[2:, 2] = 0.0
    labels[:2, 2] = 1.0
    scaled = logits * [2, 0.5, 1]
    temperatures = fit_temperatures(scaled, labels)
    assert temperatures[:2] == pytest.approx([2, 0.5], rel=0.1)
    assert temperatures[2] == fit_temperature(scaled, labels), "two positive labels are too few for a temperature"


def test_a_high_temperature_gives_the_class_frequencies():
    random = np.random.default_rng(0)
    labels = (random.random(2000) < 0.05).astype(int)
    logits = random.normal(size=(2000, 2))
    offset = np.log([0.95, 0.05])
    heat = fit_temperature(logits, labels, offset)
    assert heat > 10
    assert softmax(logits / heat + offset, axis=1)[:, 1].mean() == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_perfect_predictions_keep_a_temperature_of_one(kind):
    sure = np.array([[4.0, -4.0], [-3.0, 3.0]])
    labels = np.array([0, 1]) if kind == "single" else np.array([[1.0, 0.0], [0.0, np.nan]])
    assert fit_temperature(sure, labels) == 1.0


def test_unusual_logits_give_a_finite_temperature_or_an_error():
    labels = np.array([0, 1, 1])
    assert fit_temperature(np.zeros((3, 2)), labels) == 1.0  # all temperatures are equivalent
    assert fit_temperature(np.zeros((0, 2)), labels[:0]) == 1.0
    wrong = np.array([[-5.0, 5.0], [5.0, -5.0], [5.0, -5.0]])
    assert fit_temperature(wrong, labels) == calibration.HOTTEST
    huge = 1e6 * np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert math.isfinite(fit_temperature(huge, labels))
    with pytest.raises(ValueError, match="finite logits"):
        fit_temperature(np.array([[math.nan, 0.0]]), labels[:1])
