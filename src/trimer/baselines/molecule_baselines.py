"""Baselines for labels of molecules: forests, gradient boosting and a support vector machine on fixed features.

Shapes: n rows, F features, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from trimer.baselines.label_baseline import LabelBaseline
from trimer.data.labelled import molecule_features

CACHE_MB = 300  # holds the whole kernel of 8,000 rows; a smaller cache computes its rows again and again
FOLDS = 3  # whose decision values calibrate the probabilities of the support vector machine


class MorganForest(LabelBaseline):
    """A random forest on Morgan fingerprints (radius 2, 2048 bits): few language models of SMILES do better.

    Classes weigh the same in each task, however rare (`class_weight="balanced"`). InputError for a text that is not a
    molecule.
    """

    most = 100_000
    share: float | str = 1.0  # of the features that a split of a regression tree may use
    trees: int = 500

    def __init__(self, kind: str = "single", seed: int = 0, threads: int = 1, trees: int | None = None):
        super().__init__(kind, seed, threads)
        self.trees = self.trees if trees is None else trees

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return molecule_features.bits(texts)

    def model(self) -> BaseEstimator:
        shared = {"n_estimators": self.trees, "random_state": self.seed, "n_jobs": self.threads}
        if self.kind.numbers:
            return RandomForestRegressor(max_features=self.share, **shared)
        return RandomForestClassifier(class_weight="balanced", **shared)


class DescriptorForest(MorganForest):
    """A random forest on RDKit's descriptors, such as polarity, charges and counts of groups; NaN is a value."""

    share = 1 / 3  # as fast as classification, and as good or better than all features
    trees = 300

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return molecule_features.descriptors(texts)


class MoleculeBoosting(LabelBaseline):
    """Gradient boosting (LightGBM) on Morgan counts, MACCS keys and RDKit's descriptors together.

    Each tree sees a fifth of the features and four fifths of the rows.
    """

    most = 200_000

    def __init__(self, kind: str = "single", seed: int = 0, threads: int = 1, trees: int = 200):
        super().__init__(kind, seed, threads)
        self.trees = trees
        self.names = molecule_features.listed(("counts", "keys", "descriptors"))

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return molecule_features.matrix(texts, self.names)

    def model(self) -> BaseEstimator:
        import lightgbm  # takes a second

        kind = lightgbm.LGBMRegressor if self.kind.numbers else lightgbm.LGBMClassifier
        return kind(
            n_estimators=self.trees, learning_rate=0.1, num_leaves=15, min_child_samples=5, max_bin=63,
            colsample_bytree=0.2, subsample=0.8, subsample_freq=1, random_state=self.seed, n_jobs=self.threads,
            deterministic=True, force_row_wise=True, verbose=-1,
        )  # fmt: skip

    def fitted_model(self, features: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> BaseEstimator:
        return Unnamed(super().fitted_model(features, rows, labels))


class Unnamed:
    """A fitted estimator of LightGBM, which would warn that an array of features has no names."""

    def __init__(self, estimator: BaseEstimator):
        self.estimator = estimator
        self.classes_ = getattr(estimator, "classes_", None)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self._quiet(self.estimator.predict, features)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return self._quiet(self.estimator.predict_proba, features)

    @staticmethod
    def _quiet(method, features: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return method(features)


class TanimotoMachine(LabelBaseline):
    """A support vector machine whose kernel is the Tanimoto similarity of Morgan counts: sum of minima / of maxima.

    Ralaivola et al., Neural Networks 2005. Features are the similarities to the training molecules, (n, training rows):
    the limit of rows keeps this matrix below 0.5 GB. Probabilities are a logistic regression of decision values, fitted
    on those of left-out folds. Numbers are standardised.
    """

    most, most_rows = 100_000, 8_000

    def __init__(self, kind: str = "single", seed: int = 0, threads: int = 1, inverse_penalty: float = 3.0):
        super().__init__(kind, seed, threads)
        self.inverse_penalty = inverse_penalty

    def training_features(self, texts: Sequence[str]) -> np.ndarray:
        self.library = molecule_features.counts(texts)
        return tanimoto(self.library, self.library)

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return tanimoto(molecule_features.counts(texts), self.library)

    def model(self) -> BaseEstimator:
        if self.kind.numbers:
            machine = SVR(kernel="precomputed", C=self.inverse_penalty)
            return TransformedTargetRegressor(machine, transformer=StandardScaler())
        return SVC(kernel="precomputed", C=self.inverse_penalty, cache_size=CACHE_MB, random_state=self.seed)

    def fitted_model(self, features: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> BaseEstimator:
        kernel = features if len(rows) == len(features) else features[np.ix_(rows, rows)]
        machine = self.model().fit(kernel, labels)
        calibration = None if self.kind.numbers else self._calibration(machine, kernel, labels)
        return OfSimilarities(machine, rows, calibration)

    def _calibration(self, machine: SVC, kernel: np.ndarray, labels: np.ndarray) -> LogisticRegression:
        """Probabilities from (n, C) decision values of left-out rows.

        machine: fitted to all rows; its values stand in for rows of a fold that cannot be fitted without them.
        """
        classes = machine.classes_
        folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].max()))
        values = decision_values(machine, kernel, classes)
        if folds > 1:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The least populated class")
                splits = list(StratifiedKFold(folds, shuffle=True, random_state=self.seed).split(kernel, labels))
            for train, test in splits:
                if len(np.unique(labels[train])) > 1:
                    part = self.model().fit(kernel[np.ix_(train, train)], labels[train])
                    values[test] = decision_values(part, kernel[np.ix_(test, train)], classes)
        return LogisticRegression(C=10, max_iter=1000).fit(values, labels)


class OfSimilarities:
    """A fitted support vector machine that predicts from the similarities to all training rows.

    rows: (m,) the training rows that it was fitted to.
    """

    def __init__(self, machine: BaseEstimator, rows: np.ndarray, calibration: LogisticRegression | None):
        self.machine, self.rows, self.calibration = machine, rows, calibration
        self.classes_ = getattr(machine, "classes_", None)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.machine.predict(features[:, self.rows])

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        assert self.calibration is not None and self.classes_ is not None
        return self.calibration.predict_proba(decision_values(self.machine, features[:, self.rows], self.classes_))


def decision_values(machine: SVC, kernel: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(n, C) decision value of each class, for a class that the machine has not seen one below the lowest."""
    values = machine.decision_function(kernel)
    values = np.stack([-values, values], 1) if values.ndim == 1 else values
    out = np.repeat(values.min(1, keepdims=True) - 1, len(classes), 1)
    out[:, np.searchsorted(classes, machine.classes_)] = values
    return out


def tanimoto(left: sparse.csr_matrix, right: sparse.csr_matrix) -> np.ndarray:
    """(n, m) Tanimoto similarity of (n, F) and (m, F) counts, float32; 0 where both are empty.

    The sum of minima is a product of unary codes: a count of 3 is three ones, as many columns as the highest count.
    """
    highest = np.maximum(_highest(right), 1)
    shared = (_unary(left, highest) @ _unary(right, highest).T).toarray()
    total = np.asarray(left.sum(1)) + np.asarray(right.sum(1)).T
    return np.divide(shared, total - shared, out=np.zeros(shared.shape, np.float32), where=total > shared)


def _highest(matrix: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(matrix.max(0).todense()).ravel().astype(int) if matrix.shape[0] else np.ones(matrix.shape[1], int)


def _unary(matrix: sparse.csr_matrix, highest: np.ndarray) -> sparse.csr_matrix:
    """(n, sum(highest)) ones: the first columns of each feature, as many as its count."""
    starts = np.cumsum([0, *highest])
    values = np.minimum(matrix.data.astype(int), highest[matrix.indices])
    ends = np.cumsum(values)
    within = np.arange(values.sum()) - np.repeat(ends - values, values)
    columns = np.repeat(starts[matrix.indices], values) + within
    pointers = np.append(0, ends)[matrix.indptr]
    return sparse.csr_matrix((np.ones(len(columns), np.float32), columns, pointers), (matrix.shape[0], starts[-1]))
