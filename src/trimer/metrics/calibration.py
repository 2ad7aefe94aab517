"""Whether probabilities mean what they say, and the one number that makes them do so: a temperature.

Expected calibration error as Naeini et al. (AAAI 2015) and Guo et al. (ICML 2017) define it, temperature scaling as
Guo et al. do. Shapes: n rows, C classes, K tasks.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, softmax

from trimer.metrics.weighted import calibration_error

BINS = 15
HOTTEST = 100.0  # the temperature lies between this and its inverse


def confidences(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How sure each answer is, and whether it is true: (m,) floats and (m,) 0 or 1.

    probabilities (n, C) with labels (n,): the probability of the likeliest class, and whether it is the true one.
    probabilities of the same shape as labels, (n,) or (n, K) with NaN for missing: the probability of "yes", and
    whether it is so; missing labels are left out.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    if probabilities.shape == labels.shape:
        known = ~np.isnan(labels.astype(float))
        return probabilities[known], labels[known].astype(float)
    return probabilities.max(1, initial=0), (probabilities.argmax(1) == labels).astype(float)


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(m,) which of the bins of equal width a confidence lies in; a bin holds its upper end, not its lower."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of accuracy from confidence, over bins of equal width and weighted by what lies in them.

    ECE = sum_b (n_b / n) |accuracy_b - confidence_b|. For classes the confidence is that of the likeliest class; for
    yes-or-no labels it is the probability of "yes", and the accuracy the share of "yes" (see `confidences`).
    NaN where there is no label.
    """
    confidence, right = confidences(probabilities, labels)
    if len(right) == 0:
        return float("nan")
    return float(calibration_error(right - confidence, bin_of(confidence, bins), np.ones((1, len(right))))[0])


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T at which softmax(logits / T), or sigmoid(logits / T), gives the labels the highest likelihood.

    Fit it on the validation split. logits (n, C) with labels (n,) int, or (n, K) with labels (n, K), NaN for missing.
    The likelihood is convex in 1 / T, so its slope has one root, looked for between 0.01 and 100. Where every answer is
    right there is none: the likelihood only says "colder", and the temperature stays 1, as it does without labels.
    """
    logits, labels = np.asarray(logits, float), np.asarray(labels)
    if not np.isfinite(logits).all():
        raise ValueError("a temperature needs finite logits; these hold NaN or infinity")
    if logits.shape == labels.shape:
        known = ~np.isnan(labels.astype(float))
        logits, truth = logits[known], labels[known].astype(float)
        all_right = bool(((logits > 0) == (truth > 0.5)).all())

        def slope(inverse: float) -> float:
            return float((logits * (expit(inverse * logits) - truth)).sum())

    else:
        own = logits[np.arange(len(labels)), labels]
        all_right = bool((logits.argmax(1) == labels).all())

        def slope(inverse: float) -> float:
            return float(((softmax(inverse * logits, axis=1) * logits).sum(1) - own).sum())

    if all_right or len(logits) == 0:
        return 1.0
    low, high = 1 / HOTTEST, HOTTEST
    if slope(low) >= 0:  # no better than chance: the less it says, the better; or nothing is said at all
        return 1.0 if slope(high) <= 0 else HOTTEST
    if slope(high) <= 0:
        return 1 / HOTTEST
    return float(1 / np.exp(brentq(lambda power: slope(np.exp(power)), np.log(low), np.log(high), xtol=1e-10)))


def apply(logits: np.ndarray, temperature: float = 1.0, kind: str = "single") -> np.ndarray:
    """Probabilities of the same shape as the logits: softmax over classes ("single") or a sigmoid each ("multi")."""
    if kind not in ("single", "multi"):
        raise ValueError(f"kind '{kind}' has no probabilities; use 'single' or 'multi'")
    scaled = np.asarray(logits, float) / temperature
    return softmax(scaled, axis=-1) if kind == "single" else expit(scaled)
