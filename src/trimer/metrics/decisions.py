"""Decisions from probabilities: thresholds, and how they are chosen on rows that the weights were not trained on.

A yes-or-no label is predicted as yes above its threshold. Of several classes, the one whose probability is the largest
multiple of its threshold is predicted: with equal thresholds the most probable class, and of two classes class 1 if its
probability is above its threshold. Shapes: n rows, C classes, K labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trimer.metrics import weighted_rows as weighted

CRITERIA = ("mcc", "f1")
HALF = 0.5
CANDIDATES = 200  # thresholds that are tried for one label or class
PASSES = 3  # over the classes, one class at a time
FEW = 3  # rows of a class, or of yes and of no; with fewer no threshold is chosen


def decide_classes(probabilities: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
    """(n,) the predicted class of each row of (n, C) probabilities."""
    return relative(probabilities, thresholds).argmax(1)


def decide_labels(probabilities: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
    """(n, K) bool: whether each label is predicted as yes."""
    return np.asarray(probabilities) > (HALF if thresholds is None else np.asarray(thresholds))


def relative(probabilities: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
    """(n, C) probabilities as multiples of the thresholds of their classes."""
    probabilities = np.asarray(probabilities, float)
    return probabilities if thresholds is None else probabilities / np.asarray(thresholds, float)


def choose_for_labels(probabilities: np.ndarray, labels: np.ndarray, by: str, default: np.ndarray) -> np.ndarray:
    """(K,) the threshold of each label with the highest MCC, or F1 of yes, on these rows.

    labels: (n, K), NaN for missing. default: (K,) kept where there are fewer than `FEW` yes or no.
    """
    chosen = np.array(default, float)
    for k in range(len(chosen)):
        known = ~np.isnan(labels[:, k])
        true, predicted = labels[known, k] == 1, np.asarray(probabilities[known, k], float)
        if min(true.sum(), (~true).sum()) < FEW:
            continue

        def score(threshold: float, true=true, predicted=predicted) -> float:
            confusion = _confusion(true.astype(int), (predicted > threshold).astype(int), 2)
            if by == "mcc":
                return float(weighted.mcc(confusion)[0])
            return float(2 * confusion[0, 1, 1] / max(1.0, confusion[0, 1].sum() + confusion[0, :, 1].sum()))

        chosen[k] = _best(_between(predicted), score, chosen[k])
    return chosen


def choose_for_classes(probabilities: np.ndarray, labels: np.ndarray, by: str, default: np.ndarray) -> np.ndarray:
    """(C,) thresholds of the classes, which sum to 1, with the highest MCC, or macro F1, on these rows.

    Coordinate search: one class at a time with the others fixed, in a few passes. default: (C,) the start values, which
    classes with fewer than `FEW` rows keep.
    """
    probabilities = np.asarray(probabilities, float)
    chosen = np.array(default, float)
    counts = np.bincount(labels, minlength=len(chosen))
    measure = weighted.mcc if by == "mcc" else weighted.macro_f1
    classes = [c for c in range(len(chosen)) if counts[c] >= FEW]
    if len(chosen) == 2:
        classes = [1] if len(classes) == 2 else []
    for _ in range(1 if len(chosen) == 2 else PASSES):
        before = chosen.copy()
        for c in classes:
            others = relative(probabilities, chosen)
            others[:, c] = -np.inf
            rival, rival_class = others.max(1), others.argmax(1)
            ratio = probabilities[:, c] / np.maximum(rival, np.finfo(float).tiny)  # c is predicted below this

            def score(threshold: float, c=c, ratio=ratio, rival_class=rival_class) -> float:
                predicted = np.where(ratio > threshold, c, rival_class)
                return float(measure(_confusion(labels, predicted, len(counts)))[0])

            chosen[c] = _best(_between(ratio), score, chosen[c])
        chosen = chosen / chosen.sum()
        if np.allclose(before, chosen, rtol=1e-6):
            break
    return chosen


def _confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(1, C, C) counts of true classes (down) by predicted classes (across)."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(1, classes, classes).astype(float)


def _between(values: np.ndarray) -> np.ndarray:
    """Thresholds in the middle between neighbouring values, at most `CANDIDATES` of them."""
    distinct = np.unique(values[np.isfinite(values)])
    middle = (distinct[1:] + distinct[:-1]) / 2
    if len(middle) > CANDIDATES:
        middle = middle[np.linspace(0, len(middle) - 1, CANDIDATES).round().astype(int)]
    return middle[middle > 0]


def _best(candidates: np.ndarray, score: Callable[[float], float], default: float) -> float:
    """The candidate with the highest score, on a tie the nearest to the default; the default if none is better."""
    best, highest = default, score(default)
    for candidate in sorted(candidates.tolist(), key=lambda value: abs(value - default)):
        if (value := score(candidate)) > highest + 1e-12:
            best, highest = candidate, value
    return float(best)
