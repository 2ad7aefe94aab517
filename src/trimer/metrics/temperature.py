"""Calibration of probabilities: expected calibration error, and temperature scaling.

Expected calibration error of the probability of "yes" (Naeini et al., AAAI 2015), of several classes class by class
(Kull et al., NeurIPS 2019): the error of the most probable class alone hides probabilities of a rare class that are far
too high. Temperature scaling as Guo et al. (ICML 2017). Shapes: n rows, C classes, K tasks.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, softmax

from trimer.metrics.weighted_rows import calibration_error

BINS = 15
FEW = 3  # yes and no of a label; with fewer the temperature of all labels together is used
HOTTEST = 100.0  # the temperature lies between this and its inverse


def confidences(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each prediction, and whether it was correct: (m,) floats and (m,) 0 or 1.

    probabilities (n, 2) with labels (n,): that of class 1, and whether it is the true one. (n, C): that of the
    most likely class. Probabilities of the same shape as labels, (n,) or (n, K) with NaN for missing: that of "yes",
    and whether the label is "yes"; missing labels are left out.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    if probabilities.shape == labels.shape:
        known = ~np.isnan(labels.astype(float))
        return probabilities[known], labels[known].astype(float)
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (labels == 1).astype(float)
    return probabilities.max(1, initial=0), (probabilities.argmax(1) == labels).astype(float)


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(m,) index of the bin of equal width for each confidence; a bin includes its upper end, not its lower."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")


def error_of_bins(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The calibration error of (m,) probabilities of what came true, (m,) 0 or 1, or not; NaN of none."""
    if len(right) == 0:
        return float("nan")
    return float(calibration_error(right - confidence, bin_of(confidence, bins), np.ones((1, len(right))))[0])


def fit_temperatures(logits: np.ndarray, labels: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """(K,) temperature of each yes-or-no label; the shared temperature for a label with fewer than `FEW` yes or no.

    logits, labels: (n, K), NaN for missing. offset: (K,) as in `fit_temperature`.
    """
    shared = fit_temperature(logits, labels, offset)
    offset = np.broadcast_to(offset, logits.shape[1:])
    temperatures = []
    for k in range(logits.shape[1]):
        enough = min((labels[:, k] == 1).sum(), (labels[:, k] == 0).sum()) >= FEW
        temperatures.append(fit_temperature(logits[:, [k]], labels[:, [k]], offset[[k]]) if enough else shared)
    return np.array(temperatures)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, offset: np.ndarray | float = 0.0) -> float:
    """The temperature T at which softmax(logits / T + offset), or a sigmoid, gives the labels the highest likelihood.

    offset: (C,) or (K,), such as log class frequencies: the logits in the limit of high T. Fit it on the validation
    split. logits (n, C) with labels (n,) int, or (n, K) with labels (n, K), NaN for missing.
    The negative log-likelihood is convex in 1 / T, so its slope has one root, searched between 0.01 and 100. If every
    prediction is correct there is none, and the temperature stays 1, as it does without labels.
    """
    logits, labels = np.asarray(logits, float), np.asarray(labels)
    if not np.isfinite(logits).all():
        raise ValueError("a temperature needs finite logits; these hold NaN or infinity")
    if logits.shape == labels.shape:
        known = ~np.isnan(labels.astype(float))
        added = np.broadcast_to(offset, logits.shape)[known]
        logits, truth = logits[known], labels[known].astype(float)
        all_right = bool(((logits > 0) == (truth > 0.5)).all())

        def slope(inverse: float) -> float:
            return float((logits * (expit(inverse * logits + added) - truth)).sum())

    else:
        true_logits = logits[np.arange(len(labels)), labels]
        all_right = bool((logits.argmax(1) == labels).all())

        def slope(inverse: float) -> float:
            return float(((softmax(inverse * logits + offset, axis=1) * logits).sum(1) - true_logits).sum())

    if all_right or len(logits) == 0:
        return 1.0
    low, high = 1 / HOTTEST, HOTTEST
    if slope(low) >= 0:  # no better than chance: flatter is better; or all logits are equal
        return 1.0 if slope(high) <= 0 else HOTTEST
    if slope(high) <= 0:
        return 1 / HOTTEST
    return float(1 / np.exp(brentq(lambda power: slope(np.exp(power)), np.log(low), np.log(high), xtol=1e-10)))
