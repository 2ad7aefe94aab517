"""The model before fine-tuning as a baseline, as is and recalibrated to the scale of the new labels.

Recalibrating old predictions by a fitted curve is the cheap way from one chromatography to another. Fine-tuning is
useful only if it does better (users of DeepLC found that it may do worse). Shapes: n rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from trimer.checkpoint import Loaded, load
from trimer.public import is_public
from trimer.run import run_config

log = logging.getLogger(__name__)

KNOTS = 8  # of the spline, at quantiles of the predictions
CURVES = {
    "linear": LinearRegression,
    "spline": lambda: make_pipeline(
        SplineTransformer(n_knots=KNOTS, degree=3, knots="quantile", extrapolation="linear"), LinearRegression()
    ),
}


def begun_with(run: Path, labels: dict, features: Sequence[str] = ()) -> Loaded | None:
    """The fine-tuned model that a run started from, if it was trained on the same labels; else None, logged.

    features: of the data, which a model that reads others cannot predict.
    """
    path = run_config(run).get("ckpt")
    if not path or is_public(path):
        return None
    try:
        loaded = load(path)
    except Exception as error:  # the file may have been moved since
        log.warning("no row 'before fine-tuning': ckpt=%s cannot be read any more (%s)", path, error)
        return None
    if loaded.contract.get("labels") != labels:
        log.info("no row 'before fine-tuning': %s was not trained on these labels", loaded.path)
        return None
    if (used := loaded.contract["data"].get("features")) and list(used) != list(features):
        log.info("no row 'before fine-tuning': %s reads other features (data.features)", loaded.path)
        return None
    return loaded


def calibrated(curve: str, before_train: np.ndarray, labels_train: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(n,) predictions of the earlier model, recalibrated to the new labels by a curve fitted on the train split."""
    known = ~np.isnan(labels_train)
    model: BaseEstimator = CURVES[curve]().fit(before_train[known, None], labels_train[known])
    return model.predict(before[:, None])
