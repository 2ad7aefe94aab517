"""Metrics of classes and numbers for weighted rows, under many weightings at once.

A bootstrap resample is a weighting: how often each row was drawn. One sort of the scores gives AUROC and average
precision for all resamples at once, much faster than one after the other. The values equal scikit-learn's on the rows
repeated as often as they were drawn; undefined values (0 / 0) are NaN.

Shapes: R weightings, n rows, C classes. `weights` is (R, n) and each function gives (R,) unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

CELLS = 500_000  # of a block of weights: 4 MB, which fit in the CPU cache


def weightings(
    rows: int,
    resamples: int,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> np.ndarray:
    """(1 + resamples, n) how often each row counts: all ones, then draws of groups with replacement.

    groups: (n,) rows of one group are drawn together, such as the spectra of a molecule; by default each row alone.
    strata: (n,) rows are drawn within their stratum, such as their class, so that no draw loses a rare one; not with
    groups.
    """
    if strata is not None and groups is None and rows:
        return _within(strata, resamples, seed)
    of_row = np.arange(rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(of_row.max(initial=-1)) + 1
    random = np.random.default_rng(seed)
    draws = [np.bincount(random.integers(count, size=count), minlength=count)[of_row] for _ in range(resamples)]
    return np.stack([np.ones(rows), *draws]).astype(np.uint16) if rows else np.zeros((1 + resamples, 0), np.uint16)


def _within(strata: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    out = np.ones((1 + resamples, len(strata)), np.uint16)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        count = len(rows)
        draws = random.integers(count, size=(resamples, count)) + count * np.arange(resamples)[:, None]
        out[1:, rows] = np.bincount(draws.ravel(), minlength=resamples * count).reshape(resamples, count)
    return out


def rarest_label(labels: np.ndarray) -> np.ndarray:
    """(n,) index of the rarest (label, value) of each row of (n, K) yes-or-no labels; -1 for a row without labels."""
    held = np.concatenate([labels == 0, labels == 1], 1)  # (n, 2 K)
    counts = np.where(held, held.sum(0), len(labels) + 1)
    return np.where(held.any(1), counts.argmin(1), -1)


def in_blocks(measure: Callable[[np.ndarray], dict[str, np.ndarray]], weights: np.ndarray) -> dict[str, np.ndarray]:
    """The values of `measure` for all weightings, computed in blocks of float64 weights and concatenated."""
    step = max(1, CELLS // max(1, weights.shape[1]))
    blocks = [measure(weights[start : start + step].astype(float)) for start in range(0, len(weights), step)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of (n,) values."""
    return ratio(weights @ np.asarray(values, float), weights.sum(1))


def confusions(labels: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """(R, C, C) weight of the rows of each true class (down) and each predicted class (across)."""
    cells = sparse.csr_matrix(
        (np.ones(len(labels)), (np.arange(len(labels)), labels * classes + predicted)), (len(labels), classes**2)
    )
    return np.asarray(weights @ cells).reshape(-1, classes, classes)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of the rows on the diagonal of (R, C, C)."""
    return ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum((1, 2)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that occur."""
    return nanmean(ratio(_diagonal(confusion), confusion.sum(2)))


def macro_precision(confusion: np.ndarray) -> np.ndarray:
    """Mean precision of the classes that occur or are predicted; 0 for one that is never predicted."""
    return _over_classes(confusion, confusion.sum(1))


def macro_recall(confusion: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that occur or are predicted; 0 for one that does not occur."""
    return _over_classes(confusion, confusion.sum(2))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 of the classes that occur or are predicted: F1 = 2 TP / (2 TP + FP + FN)."""
    return nanmean(ratio(2 * _diagonal(confusion), confusion.sum(1) + confusion.sum(2)))


def mcc(confusion: np.ndarray) -> np.ndarray:
    """Matthews correlation coefficient, for C classes by Gorodkin (2004); 0 where only one class is predicted."""
    true, predicted = confusion.sum(2), confusion.sum(1)  # (R, C)
    total = true.sum(1)
    covariance = np.trace(confusion, axis1=1, axis2=2) * total - (true * predicted).sum(1)
    spread = (total**2 - (true**2).sum(1)) * (total**2 - (predicted**2).sum(1))
    return np.where(spread > 0, ratio(covariance, np.sqrt(np.maximum(spread, 0))), 0.0)


def by_score(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, distinct scores) weight of the positive and of the negative rows at each score, the lowest score first."""
    sort, starts = _ties(scores)
    weights = weights[:, sort]
    right = np.add.reduceat(weights * positive[sort], starts, axis=1)
    return right, np.add.reduceat(weights, starts, axis=1) - right


def auroc(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Probability that a positive row scores above a negative one, a tie counted as half. Arguments of `by_score`."""
    below = np.cumsum(wrong, axis=1) - wrong
    return ratio((right * (below + wrong / 2)).sum(1), right.sum(1) * wrong.sum(1))


def average_precision(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Sum over thresholds of precision times the gain in recall, without interpolation. Arguments of `by_score`."""
    right, wrong = right[:, ::-1], wrong[:, ::-1]
    true_positives = np.cumsum(right, axis=1)
    precision = np.nan_to_num(ratio(true_positives, true_positives + np.cumsum(wrong, axis=1)))
    return ratio((right * precision).sum(1), right.sum(1))


def calibration_error(gap: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean distance of accuracy from confidence: (n,) their difference in each row, (n,) the bin of each row."""
    rows = np.arange(len(bins))
    of_bin = sparse.csr_matrix((gap, (rows, bins)), (len(bins), int(bins.max(initial=0)) + 1))
    return ratio(np.abs(np.asarray(weights @ of_bin)).sum(1), weights.sum(1))


def r2(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - squared error / squared deviation from the mean; NaN where all labels are the same."""
    error = weights @ (labels - predicted) ** 2
    spread = (weights * (labels - mean(labels, weights)[:, None]) ** 2).sum(1)
    drawn = weights > 0
    constant = np.where(drawn, labels, -np.inf).max(1) <= np.where(drawn, labels, np.inf).min(1)
    return np.where(constant, np.nan, 1 - ratio(error, spread))


def percentile(values: np.ndarray, share: float, weights: np.ndarray) -> np.ndarray:
    """The value below which a share of the rows lies, like numpy's percentile of the repeated rows."""
    sort = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[:, sort], axis=1)
    position = share * (upto[:, -1] - 1)
    below, above = (
        (upto <= at[:, None]).sum(1).clip(max=len(values) - 1) for at in (np.floor(position), np.ceil(position))
    )
    low, high = values[sort][below], values[sort][above]
    return low + (high - low) * (position - np.floor(position))


def line(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The least-squares line of labels on predictions: slope, intercept, pearson with its sign, and r_squared.

    NaN where the predictions are constant, and of the correlation where either is. A prediction on another scale has
    an r_squared of 1, which does not measure the error.
    """
    mean_x, mean_y = mean(predicted, weights), mean(labels, weights)
    x, y = predicted - mean_x[:, None], labels - mean_y[:, None]
    xx, yy, xy = ((weights * product).sum(1) for product in (x * x, y * y, x * y))
    slope, pearson = ratio(xy, xx), ratio(xy, np.sqrt(xx * yy))
    return {"slope": slope, "intercept": mean_y - slope * mean_x, "pearson": pearson, "r_squared": pearson**2}


def spearman(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation of ranks, ties at their mean rank; NaN where either side is constant."""
    x, y = _ranks(predicted, weights), _ranks(labels, weights)
    total = weights.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = x - (weights * x).sum(1, keepdims=True) / total
        y = y - (weights * y).sum(1, keepdims=True) / total
    spread = (weights * x**2).sum(1) * (weights * y**2).sum(1)
    return ratio((weights * x * y).sum(1), np.sqrt(spread))


def nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, NaN left out; NaN where nothing is left."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN where the denominator is not above zero."""
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, n) mean rank of each row, repeated as often as its weight."""
    sort, starts = _ties(values)
    tied = np.add.reduceat(weights[:, sort], starts, axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    out = np.empty(weights.shape)
    out[:, sort] = np.repeat(ranks, np.diff(starts, append=len(values)), axis=1)
    return out


def _ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ascending order of (n,) values, and where in it each distinct value begins."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def _diagonal(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=1, axis2=2)


def _over_classes(confusion: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Mean of the diagonal over `below`, (R, C), for the classes that occur or are predicted; 0 / 0 counts as 0."""
    there = confusion.sum(1) + confusion.sum(2) > 0
    return nanmean(np.where(there, np.nan_to_num(ratio(_diagonal(confusion), below)), np.nan))
