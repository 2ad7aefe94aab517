"""Probability of being right from a few numbers: ridge logistic regression, measured out of fold by groups.

The model is fitted on few records, of which few are right, so its freedom is limited: the penalty is chosen by
cross-validation, and with fewer than `FEW_RIGHT` groups that hold a right record it is a constant. Groups (molecules)
never cross folds. Shapes: n records, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from trimer.errors import CheckpointError

FOLDS = 5
FEW_RIGHT = 5  # groups with a right record, below which the probability is a constant
PENALTIES = (0.3, 3.0, 30.0, 300.0)  # of half the squared weights of standardised features; besides these: a constant
STEPS = 100  # of Newton's method
CLIP = 1e-6  # distance of a probability from 0 and 1 in the log loss


@dataclass(frozen=True)
class ProbabilityModel:
    """p = 1 / (1 + exp(-(intercept + sum of weight * (feature - mean) / scale))); a missing feature counts as its mean.

    features: names, in order. A model without weights is a constant.
    """

    features: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n,) probabilities. values: (n, F), NaN for missing."""
        return expit(self.intercept + standardised(values, self.mean, self.scale) @ self.weights)

    def plain(self) -> dict[str, Any]:
        """The model as plain values, for a checkpoint."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "scale", "weights")}
        return {"features": list(self.features), **arrays, "intercept": self.intercept}

    @classmethod
    def of_plain(cls, stored: Mapping[str, Any], features: Sequence[str], where: str) -> ProbabilityModel:
        """The model of plain values; CheckpointError if they are malformed or have other features.

        where: the file that holds them, for the error.
        """
        try:
            names = tuple(str(name) for name in stored["features"])
            mean, scale, weights = (np.array(stored[name], np.float64) for name in ("mean", "scale", "weights"))
            intercept = float(stored["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where}: the stored calibration is damaged ({error}); calibrate it again") from None
        shapes = {mean.shape, scale.shape, weights.shape}
        if names != tuple(features) or shapes != {(len(names),)} or not np.isfinite([*weights, intercept]).all():
            raise CheckpointError(
                f"{where}: the calibration was stored by another version of Trimer, with the features "
                f"{', '.join(names)}: calibrate it again with trimer evaluate ckpt=... calibrate=true"
            )
        return cls(names, mean, scale, weights, intercept)


def standardised(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(n, F) features minus their means, divided by their scales; 0 where missing."""
    return np.nan_to_num((values - mean) / scale, nan=0.0)


def fit(values: np.ndarray, right: np.ndarray, groups: np.ndarray, features: Sequence[str]) -> ProbabilityModel:
    """The model with the penalty that has the lowest log loss in a cross-validation by groups.

    values: (n, F), NaN for missing. right: (n,) bool. groups: (n,) label of each record.
    """
    right = np.asarray(right, bool)
    chosen: float | None = None
    if len(np.unique(groups[right])) >= FEW_RIGHT and len(np.unique(groups[~right])) >= FEW_RIGHT:
        folds = grouped_folds(groups, right)
        losses = {}
        for penalty in (None, *PENALTIES):
            predicted = np.empty(len(right))
            for fold in range(FOLDS):
                inside = folds != fold
                predicted[~inside] = _fitted(values[inside], right[inside], features, penalty)(values[~inside])
            losses[penalty] = log_loss(predicted, right)
        chosen = min(losses, key=lambda penalty: losses[penalty])
    return _fitted(values, right, features, chosen)


def out_of_fold(values: np.ndarray, right: np.ndarray, groups: np.ndarray, features: Sequence[str]) -> np.ndarray:
    """(n,) probabilities of models that were fitted, with the choice of their penalty, on the other groups."""
    right = np.asarray(right, bool)
    folds, predicted = grouped_folds(groups, right), np.empty(len(right))
    for fold in np.unique(folds):
        inside = folds != fold
        predicted[~inside] = fit(values[inside], right[inside], groups[inside], features)(values[~inside])
    return predicted


def grouped_folds(groups: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) fold of each record: whole groups, those with a right record spread evenly."""
    names, number = np.unique(groups, return_inverse=True)
    with_right = np.zeros(len(names), bool)
    with_right[number[right]] = True
    shuffled = np.random.default_rng(0).permutation(len(names))
    order = shuffled[np.argsort(~with_right[shuffled], kind="stable")]
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % FOLDS
    return fold[number]


def log_loss(predicted: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; NaN without records."""
    predicted = np.clip(predicted, CLIP, 1 - CLIP)
    return float(-np.mean(np.where(right, np.log(predicted), np.log1p(-predicted)))) if len(right) else float("nan")


def _fitted(values: np.ndarray, right: np.ndarray, features: Sequence[str], penalty: float | None) -> ProbabilityModel:
    """The model with this penalty; None: the constant (right records + 1/2) / (records + 1)."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(values)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, values, 0.0).sum(0) / count
        deviation = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(0) / count)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    rate = (right.sum() + 0.5) / (len(right) + 1)
    start = float(np.log(rate / (1 - rate)))
    names, zero = tuple(features), np.zeros(values.shape[1])
    if penalty is None:
        return ProbabilityModel(names, mean, scale, zero, start)
    inputs = np.column_stack([np.ones(len(right)), standardised(values, mean, scale)])
    weights = newton(inputs, right.astype(float), np.array([0.0, *[penalty] * len(zero)]), np.array([start, *zero]))
    return ProbabilityModel(names, mean, scale, weights[1:], float(weights[0]))


def newton(inputs: np.ndarray, right: np.ndarray, penalty: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weights that minimise the summed log loss plus half of penalty * weights^2, by Newton's method.

    A step is halved until the objective, which is convex, no longer increases.
    """

    def objective(candidate: np.ndarray) -> float:
        logits = inputs @ candidate
        return float(np.logaddexp(0, logits).sum() - right @ logits + 0.5 * penalty @ candidate**2)

    value = objective(weights)
    for _ in range(STEPS):
        probability = expit(inputs @ weights)
        gradient = inputs.T @ (probability - right) + penalty * weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        for _ in range(STEPS):
            following = objective(weights - step)
            if following <= value:
                break
            step = step / 2
        weights = weights - step
        if value - following < 1e-9 * (1 + abs(value)):
            break
        value = following
    return weights
