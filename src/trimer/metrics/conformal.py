"""Intervals of predicted numbers by split conformal prediction.

The half-width of an interval is a quantile of the absolute errors on the validation split. If validation rows and new
rows are drawn alike, the interval of a new row contains the true number with at least the stated probability, for any
model (Vovk et al. 2005; Lei et al., JASA 2018). It has the same width for all rows. Shapes: n rows, K labels.
"""

from __future__ import annotations

import math

import numpy as np

from trimer.metrics.weighted_rows import mean

OF_INTERVALS = ("coverage", "interval_width")
LEVEL = 0.9  # probability that an interval contains the true number
UNKNOWN = -1.0  # half-width of a label without calibration


def half_widths(predicted: np.ndarray, labels: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """(K,) half-width of the interval of each label, in its unit; UNKNOWN for one with too few rows.

    predicted: (n, K) of rows that the model was not trained on. labels: (n, K), NaN for missing. The half-width is the
    error of rank ceil((n + 1) level) in ascending order, which 90 % intervals have from n = 9 rows on.
    """
    errors = np.abs(np.asarray(predicted, np.float64) - np.asarray(labels, np.float64))
    widths = np.full(errors.shape[1], UNKNOWN)
    for k in range(errors.shape[1]):
        known = np.sort(errors[~np.isnan(errors[:, k]), k])
        rank = math.ceil((len(known) + 1) * level - 1e-9)  # 10 x 0.9 is 9
        if 0 < rank <= len(known):
            widths[k] = known[rank - 1]
    return widths


def interval_metrics(errors: np.ndarray, widths: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Share of the (n,) absolute errors within (n,) half-widths, and mean interval width; NaN without half-widths.

    weights: (W, n) of the rows, as in `trimer.metrics.weighted_rows`.
    """
    inside = np.where(np.isnan(widths), np.nan, errors <= widths)
    return dict(zip(OF_INTERVALS, (mean(inside, weights), mean(2 * widths, weights)), strict=True))
