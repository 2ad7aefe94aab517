"""Calibrated probabilities from a few features, fitted on few records."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from trimer.errors import CheckpointError
from trimer.metrics.probability_model import (
    ProbabilityModel,
    fit,
    grouped_folds,
    log_loss,
    newton,
    out_of_fold,
)
from trimer.metrics.temperature import error_of_bins

NAMES = ("a", "b", "c")


def sample(count: int, intercept: float, seed: int = 0, records: int = 4):
    """Features, truth and groups of records whose probability depends on the first feature alone."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, len(NAMES)))
    right = random.random(count) < expit(intercept + 1.5 * values[:, 0])
    return values, right, np.arange(count) // records


def test_newton_agrees_with_scikit_learn():
    values, right, _ = sample(400, -1.0)
    inputs = np.column_stack([np.ones(400), values])
    weights = newton(inputs, right.astype(float), np.array([0.0, 2.0, 2.0, 2.0]), np.zeros(4))
    expected = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(values, right)
    np.testing.assert_allclose(weights, [*expected.intercept_, *expected.coef_[0]], atol=1e-4)


def test_out_of_fold_probabilities_are_calibrated_and_better_than_the_base_rate():
    values, right, groups = sample(4000, -2.0)
    predicted = out_of_fold(values, right, groups, NAMES)
    assert error_of_bins(predicted, right, 10) < 0.03
    assert ((predicted - right) ** 2).mean() < 0.9 * right.mean() * (1 - right.mean())
    np.testing.assert_allclose(fit(values, right, groups, NAMES).weights[0], 1.5, atol=0.2)


def test_without_a_right_record_the_probability_is_a_small_constant():
    values, _, groups = sample(300, 0.0)
    model = fit(values, np.zeros(300, bool), groups, NAMES)
    assert not model.weights.any()
    np.testing.assert_allclose(model(values), 0.5 / 301)


def test_few_right_groups_give_the_base_rate_even_if_a_feature_separates_them():
    values, _, groups = sample(300, 0.0)
    right = groups < 2  # eight records of two molecules
    values[:, 0] = right
    np.testing.assert_allclose(fit(values, right, groups, NAMES)(values), 8.5 / 301)


def test_noise_is_not_taken_for_a_signal():
    """Features that say nothing: predictions stay near the base rate, so the log loss is close to its own."""
    random = np.random.default_rng(3)
    values, groups = random.normal(size=(400, 3)), np.arange(400)
    right = random.random(400) < 0.05
    rate = np.full(400, right.mean())
    assert log_loss(out_of_fold(values, right, groups, NAMES), right) < 1.1 * log_loss(rate, right)


def test_separated_records_do_not_get_certain_probabilities():
    values, groups = np.linspace(-1, 1, 60)[:, None], np.arange(60)
    model = fit(values, values[:, 0] > 0, groups, ("a",))
    probabilities = model(np.array([[-1.0], [1.0]]))
    assert 0 < probabilities[0] < 0.2 and 0.8 < probabilities[1] < 1


def test_groups_do_not_cross_folds_and_right_ones_are_spread():
    groups = np.repeat(np.arange(40), 3)
    right = groups < 10
    folds = grouped_folds(groups, right)
    assert all(len(set(folds[groups == group])) == 1 for group in range(40))
    assert all(len(set(groups[(folds == fold) & right])) == 2 for fold in range(5))


def test_repeated_records_of_one_group_do_not_look_like_evidence():
    """Each group repeats one record 20 times with a unique feature: out of fold, memorised groups do not help."""
    random = np.random.default_rng(1)
    right = np.repeat(random.random(60) < 0.3, 20)
    values = np.repeat(random.normal(size=(60, 3)), 20, axis=0)
    predicted = out_of_fold(values, right, np.repeat(np.arange(60), 20), NAMES)
    rate = right.mean()
    assert ((predicted - right) ** 2).mean() > 0.9 * rate * (1 - rate)


def test_a_missing_feature_counts_as_its_mean():
    values, right, groups = sample(400, -1.0)
    model = fit(values, right, groups, NAMES)
    missing = np.array([[np.nan, *model.mean[1:]]])
    np.testing.assert_allclose(model(missing), model(model.mean[None]))
    values[:, 1] = np.nan
    assert np.isfinite(fit(values, right, groups, NAMES)(values)).all()


def test_plain_values_restore_the_model_and_damaged_ones_raise_an_error():
    values, right, groups = sample(400, -1.0)
    model = fit(values, right, groups, NAMES)
    again = ProbabilityModel.of_plain(model.plain(), NAMES, "x.ckpt")
    np.testing.assert_array_equal(again(values), model(values))
    for change in ({"weights": [1.0]}, {"intercept": "high"}, {"features": ["a"]}, {"weights": [1.0, 2.0, np.nan]}):
        with pytest.raises(CheckpointError, match=r"x\.ckpt"):
            ProbabilityModel.of_plain(model.plain() | change, NAMES, "x.ckpt")
