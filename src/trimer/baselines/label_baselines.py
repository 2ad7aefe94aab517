"""Baselines for labels: predictions from the labels alone, and classical models on fixed features.

A baseline is built for a kind of labels ("single": one class of several, "multi": yes-or-no labels, "regression":
numbers), fitted on the train split, and predicts for the texts of another split: SMILES or residues.
Shapes: n rows, C classes, K tasks, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
from rdkit.Chem import rdFingerprintGenerator
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimer.baselines.composition import ENDS, composition, peptide_composition
from trimer.chemistry import identifiers as chemistry
from trimer.errors import InputError
from trimer.metrics.molecule_properties import BITS, RADIUS

KINDS = ("single", "multi", "regression")
PENALTIES = np.logspace(0, 6, 13)  # of ridge regression, chosen by leave-one-out on the train split


class LabelBaseline:
    """Base: a subclass computes features and chooses an estimator; each task is fitted by itself, on its known labels.

    fit(texts, labels, classes=None): labels (n,) int for "single" (C = classes, else the highest label + 1), (n, K)
    with NaN for missing for the others; (n,) is one task.
    predict(texts) -> (n, C) probabilities, 0 for classes that the train split lacks; (n, K) probabilities of "yes", 0.5
    for a task without train labels; (n, K) numbers.
    """

    def __init__(self, kind: str = "single", seed: int = 0):
        if kind not in KINDS:
            raise ValueError(f"kind '{kind}' is not known; use one of {', '.join(KINDS)}")
        self.kind, self.seed = kind, seed

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """(n, F) the features of each text."""
        raise NotImplementedError

    def model(self) -> BaseEstimator:
        """A new estimator, not fitted yet."""
        raise NotImplementedError

    def fit(self, texts: Sequence[str], labels: np.ndarray, classes: int | None = None) -> Self:
        labels = np.asarray(labels)
        if len(labels) != len(texts):
            raise ValueError(f"{len(labels)} labels for {len(texts)} texts")
        if len(labels) == 0:
            raise InputError("there are no training rows for the baselines: check the split")
        features = self.features(texts)
        if self.kind == "single":
            self.classes = int(labels.max()) + 1 if classes is None else classes
            self.models = [self._fitted(features, labels)]
        else:
            labels = (labels[:, None] if labels.ndim == 1 else labels).astype(float)
            self.models = [self._task(features, labels[:, task], task) for task in range(labels.shape[1])]
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        features = self.features(texts)
        if self.kind == "single":
            return self._probabilities(self.models[0], features, self.classes)
        if self.kind == "multi":
            return np.stack([self._probabilities(model, features, 2)[:, 1] for model in self.models], axis=1)
        columns = [model.predict(features) if len(features) else np.zeros(0) for model in self.models]
        return np.stack(columns, axis=1)

    def _fitted(self, features: np.ndarray, labels: np.ndarray) -> BaseEstimator:
        one_class = self.kind != "regression" and len(np.unique(labels)) == 1  # no linear model can be fitted to that
        return (DummyClassifier() if one_class else self.model()).fit(features, labels)

    def _task(self, features: np.ndarray, labels: np.ndarray, task: int) -> BaseEstimator | None:
        known = ~np.isnan(labels)
        if known.any():
            return self._fitted(features[known], labels[known] if self.kind == "regression" else labels[known] == 1)
        if self.kind == "multi":
            return None
        raise InputError(f"task {task} has no label in the train split, so no baseline can predict it; leave it out")

    def _probabilities(self, model: BaseEstimator | None, features: np.ndarray, classes: int) -> np.ndarray:
        if model is None:
            return np.full((len(features), classes), 1 / classes)
        out = np.zeros((len(features), classes))
        if len(features):
            out[:, model.classes_.astype(np.int64)] = model.predict_proba(features)
        return out


class Majority(LabelBaseline):
    """The frequency of each class in train, or the mean of the numbers, whatever the text."""

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 1))

    def model(self) -> BaseEstimator:
        return DummyRegressor() if self.kind == "regression" else DummyClassifier(strategy="prior")


class MorganForest(LabelBaseline):
    """A random forest on Morgan fingerprints (radius 2, 2048 bits): few language models of SMILES do better.

    Classes weigh the same in each task, however rare (`class_weight="balanced"`). InputError for a text that is not a
    molecule.
    """

    def __init__(self, kind: str = "single", seed: int = 0, trees: int = 500, processes: int = 1):
        super().__init__(kind, seed)
        self.trees, self.processes = trees, processes

    def features(self, texts: Sequence[str]) -> np.ndarray:
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
        out = np.zeros((len(texts), BITS), np.float32)
        for row, smiles in enumerate(texts):
            molecule = chemistry.parse(smiles)
            if molecule is None:
                raise InputError(
                    f"row {row}: '{smiles}' cannot be read as SMILES, so it has no fingerprint; correct or drop it"
                )
            out[row] = generator.GetFingerprintAsNumPy(molecule)
        return out

    def model(self) -> BaseEstimator:
        shared = {"n_estimators": self.trees, "random_state": self.seed, "n_jobs": self.processes}
        if self.kind == "regression":
            return RandomForestRegressor(**shared)
        return RandomForestClassifier(class_weight="balanced", **shared)


class CompositionModel(LabelBaseline):
    """A linear model on the composition of a protein: residues, residue pairs, N-terminal regions, hydropathy.

    Logistic regression with classes of equal weight, on standardised features (`trimer.baselines.composition`); for
    numbers ridge regression with a penalty chosen by leave-one-out. inverse_penalty: scikit-learn's C. ends: lengths of
    the N-terminal regions.
    """

    def __init__(self, kind: str = "single", seed: int = 0, inverse_penalty: float = 0.003, ends: Sequence[int] = ENDS):
        super().__init__(kind, seed)
        self.inverse_penalty, self.ends = inverse_penalty, ends

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return composition(texts, self.ends)

    def model(self) -> BaseEstimator:
        if self.kind == "regression":
            return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
        linear = LogisticRegression(C=self.inverse_penalty, class_weight="balanced", max_iter=2000)
        return make_pipeline(StandardScaler(), linear)


class PeptideComposition(LabelBaseline):
    """A linear model on the residue counts of a peptide, the two residues at both ends, and its modifications.

    Features are standardised. Logistic regression, or for numbers ridge regression with a penalty chosen by
    leave-one-out.
    """

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return peptide_composition(texts)

    def model(self) -> BaseEstimator:
        if self.kind == "regression":
            return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


# Name in result tables -> baseline, built by (kind, seed).
FOR_MOLECULES: Mapping[str, Callable[[str, int], LabelBaseline]] = {
    "trivial baseline: majority or mean": Majority,
    "random forest on Morgan fingerprints": MorganForest,
}
FOR_PEPTIDES: Mapping[str, Callable[[str, int], LabelBaseline]] = {
    "trivial baseline: majority or mean": Majority,
    "linear model on composition": PeptideComposition,
}
FOR_PROTEINS: Mapping[str, Callable[[str, int], LabelBaseline]] = {
    "trivial baseline: majority or mean": Majority,
    "linear model on composition": CompositionModel,
}
