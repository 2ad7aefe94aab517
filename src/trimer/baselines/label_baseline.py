"""The base of label baselines, which fits a classical model to fixed features, and the trivial baseline.

A baseline is built for a kind of labels ("single": one class of several, "multi": yes-or-no labels, "regression":
numbers), fitted on the train split, and predicts for the texts of another split: SMILES or residues.
Shapes: n rows, C classes, K tasks, F features.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor

from trimer.errors import InputError
from trimer.targets import target_of

LEAST_ROWS = 500  # of a task, however many tasks share the limit
SECONDS = 900.0  # for all tasks of one baseline


class LabelBaseline:
    """Base: a subclass computes features and chooses an estimator; each task is fitted by itself, on its known labels.

    fit(texts, labels, classes=None): labels (n,) int for "single" (C = classes, else the highest label + 1), (n, K)
    with NaN for missing for the others; (n,) is one task.
    predict(texts) -> (n, C) probabilities, 0 for classes that the train split lacks; (n, K) probabilities of "yes", 0.5
    for a task without train labels; (n, K) numbers.

    most, most_rows: training rows times tasks, and rows, that are fitted; of more, rows are drawn by the seed, with a
    `note`. A baseline that is not fitted after SECONDS raises an InputError between two tasks. threads: of
    estimators that can use them.
    """

    most: int = 1_000_000
    most_rows: int = 1_000_000

    def __init__(self, kind: str = "single", seed: int = 0, threads: int = 1):
        self.kind, self.seed, self.threads = target_of(kind), seed, threads
        self.note = ""  # what the fit left out

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """(n, F) the features of each text."""
        raise NotImplementedError

    def training_features(self, texts: Sequence[str]) -> np.ndarray:
        """(n, F) the features of the training texts; by default those of any text."""
        return self.features(texts)

    def model(self) -> BaseEstimator:
        """A new estimator, not fitted yet."""
        raise NotImplementedError

    def fit(self, texts: Sequence[str], labels: np.ndarray, classes: int | None = None) -> Self:
        labels = np.asarray(labels)
        if len(labels) != len(texts):
            raise ValueError(f"{len(labels)} labels for {len(texts)} texts")
        if len(labels) == 0:
            raise InputError("there are no training rows for the baselines: check the split")
        if self.kind.has_classes:
            self.classes = int(labels.max()) + 1 if classes is None else classes
        else:
            labels = (labels[:, None] if labels.ndim == 1 else labels).astype(float)
            self._check_tasks(labels)
        texts, labels = self._within_limit(texts, labels)
        features = self.training_features(texts)
        if self.kind.has_classes:
            self.models = [self._fitted(features, np.arange(len(labels)), labels)]
            return self
        self.models, started = [], time.monotonic()
        for task in range(labels.shape[1]):
            if time.monotonic() - started > SECONDS:
                raise InputError(f"{task} of {labels.shape[1]} labels were fitted after {SECONDS / 60:.0f} minutes")
            self.models.append(self._task(features, labels[:, task]))
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        features = self.features(texts)
        if self.kind.has_classes:
            return self._probabilities(self.models[0], features, self.classes)
        if self.kind.yes_or_no:
            return np.stack([self._probabilities(model, features, 2)[:, 1] for model in self.models], axis=1)
        columns = [model.predict(features) if features.shape[0] else np.zeros(0) for model in self.models if model]
        return np.stack(columns, axis=1)

    def fitted_model(self, features: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> BaseEstimator:
        """An estimator fitted to some rows of the features; (m,) rows and their labels."""
        return self.model().fit(features[rows], labels)

    def _check_tasks(self, labels: np.ndarray) -> None:
        for task in np.flatnonzero(np.isnan(labels).all(0)) if self.kind.numbers else ():
            raise InputError(
                f"task {task} has no label in the train split, so no baseline can predict it; leave it out"
            )

    def _within_limit(self, texts: Sequence[str], labels: np.ndarray) -> tuple[Sequence[str], np.ndarray]:
        """All rows, or as many as `most` allows, drawn by the seed; rows without a label are left out first."""
        tasks = 1 if labels.ndim == 1 else labels.shape[1]
        allowed = min(self.most_rows, max(self.most // tasks, LEAST_ROWS))
        if len(texts) <= allowed:
            return texts, labels
        known = np.arange(len(texts)) if labels.ndim == 1 else np.flatnonzero(~np.isnan(labels).all(1))
        if len(known) > allowed:
            self.note = f"fitted on {allowed:,} of {len(known):,} training rows, which bounds its time"
            known = np.sort(np.random.default_rng(self.seed).choice(known, allowed, replace=False))
        return [texts[row] for row in known.tolist()], labels[known]

    def _fitted(self, features: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> BaseEstimator:
        if not self.kind.numbers and len(np.unique(labels)) == 1:  # most classifiers need two classes
            return DummyClassifier().fit(features[rows], labels)
        return self.fitted_model(features, rows, labels)

    def _task(self, features: np.ndarray, labels: np.ndarray) -> BaseEstimator | None:
        rows = np.flatnonzero(~np.isnan(labels))
        if not len(rows):
            return None
        return self._fitted(features, rows, labels[rows] if self.kind.numbers else labels[rows] == 1)

    def _probabilities(self, model: BaseEstimator | None, features: np.ndarray, classes: int) -> np.ndarray:
        if model is None:
            return np.full((features.shape[0], classes), 1 / classes)
        out = np.zeros((features.shape[0], classes))
        if features.shape[0]:
            out[:, model.classes_.astype(np.int64)] = model.predict_proba(features)
        return out


class Majority(LabelBaseline):
    """The frequency of each class in train, or the mean of the numbers, whatever the text."""

    most = most_rows = 1_000_000_000

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 1))

    def model(self) -> BaseEstimator:
        return DummyRegressor() if self.kind.numbers else DummyClassifier(strategy="prior")
