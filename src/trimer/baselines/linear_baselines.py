"""Linear models on the composition of proteins and peptides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimer.baselines.composition import ENDS, composition, peptide_composition
from trimer.baselines.label_baseline import LabelBaseline

PENALTIES = np.logspace(0, 6, 13)  # of ridge regression, chosen by leave-one-out on the train split
INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03)  # of logistic regression, chosen by cross-validation
FOLDS = 3


class CompositionModel(LabelBaseline):
    """A linear model on the composition of a protein: residues, pairs of residues, both termini, hydropathy.

    Logistic regression with classes of equal weight, on standardised features (`trimer.baselines.composition`); for
    numbers ridge regression with a penalty chosen by leave-one-out. inverse_penalty: scikit-learn's C; null: the best
    balanced accuracy of INVERSE_PENALTIES in three folds of the train split. ends: lengths of the N-terminal regions.
    """

    most = 300_000

    def __init__(
        self,
        kind: str = "single",
        seed: int = 0,
        threads: int = 1,
        inverse_penalty: float | None = None,
        ends: Sequence[int] = ENDS,
    ):
        super().__init__(kind, seed, threads)
        self.inverse_penalty, self.ends = inverse_penalty, ends

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return composition(texts, self.ends)

    def model(self) -> BaseEstimator:
        strength = INVERSE_PENALTIES[1] if self.inverse_penalty is None else self.inverse_penalty
        return linear_model(self, LogisticRegression(C=strength, class_weight="balanced", max_iter=2000))

    def fitted_model(self, features: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> BaseEstimator:
        rare = self.kind.numbers or np.unique(labels, return_counts=True)[1].max() < FOLDS
        if self.inverse_penalty is not None or rare:
            return super().fitted_model(features, rows, labels)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=self.seed)
        grid = {"logisticregression__C": INVERSE_PENALTIES}
        search = GridSearchCV(self.model(), grid, scoring="balanced_accuracy", cv=folds)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class with fewer rows than folds is absent from one
            return search.fit(features[rows], labels).best_estimator_


class PeptideComposition(LabelBaseline):
    """A linear model on the residue counts of a peptide, the two residues at both ends, and its modifications.

    Features are standardised. Logistic regression, or for numbers ridge regression with a penalty chosen by
    leave-one-out.
    """

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return peptide_composition(texts)

    def model(self) -> BaseEstimator:
        return linear_model(self, LogisticRegression(max_iter=2000))


def linear_model(baseline: LabelBaseline, classifier: BaseEstimator) -> BaseEstimator:
    """The classifier, or for numbers ridge regression, of standardised features."""
    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES) if baseline.kind.numbers else classifier)
