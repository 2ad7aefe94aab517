"""Baselines for a class of each residue: the frequencies of the classes, and a linear model on a window of residues.

Labels are those of all residues of all texts, concatenated: (R,) int64, -100 for a residue without a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from trimer.baselines.composition import residue_indices
from trimer.baselines.label_baseline import LabelBaseline, Majority
from trimer.errors import InputError
from trimer.targets import UNLABELLED

SIDE = 7  # residues on each side, as in the windows of 13 to 17 of classical secondary structure prediction
OTHER, OUTSIDE = 20, 21  # a residue that is not one of the 20, and a position beyond the end of the sequence


class _OfResidues(LabelBaseline):
    """Base: predicts a class for each residue; `fit` leaves out residues without a label."""

    def fit(self, texts: Sequence[str], labels: np.ndarray, classes: int | None = None) -> Self:
        labels = np.asarray(labels)
        residues = sum(len(text) for text in texts)
        if len(labels) != residues:
            raise InputError(f"{len(labels):,} labels for {residues:,} residues of the train split")
        known = np.flatnonzero(labels != UNLABELLED)
        if not len(known):
            raise InputError("no residue of the train split has a label")
        self.classes = int(labels.max()) + 1 if classes is None else classes
        if len(known) > self.most_rows:
            self.note = f"fitted on {self.most_rows:,} of {len(known):,} labelled residues, which bounds its time"
            known = np.sort(np.random.default_rng(self.seed).choice(known, self.most_rows, replace=False))
        self.models = [self._fitted(self.features(texts), known, labels[known])]
        return self


class ResidueFrequencies(_OfResidues):
    """The frequency of each class among the residues of train."""

    most_rows = Majority.most_rows

    def features(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((sum(len(text) for text in texts), 1))

    def model(self) -> BaseEstimator:
        return Majority().model()


class ResidueWindows(_OfResidues):
    """Logistic regression on which residue stands at each position of a window of 15, ends of the sequence included."""

    most_rows = 100_000

    def features(self, texts: Sequence[str]) -> sparse.csr_matrix:
        return windows(texts)

    def model(self) -> BaseEstimator:
        return LogisticRegression(C=0.1, max_iter=200)


def windows(texts: Sequence[str], side: int = SIDE) -> sparse.csr_matrix:
    """(R, (2 side + 1) * 22) one-hot residues around each residue of the texts, float32."""
    beyond = np.full(side, OUTSIDE)
    pieces = [np.concatenate([beyond, *((row, beyond) if len(row) else ())]) for row in map(_known, texts)]
    joined = np.concatenate([*pieces, beyond]) if pieces else beyond
    sizes = np.array([len(text) for text in texts], np.int64)
    # Between two sequences there are `side` positions beyond their ends.
    offsets = np.cumsum([0, *(len(piece) for piece in pieces)])[:-1] + side
    starts = np.repeat(offsets - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    width = 2 * side + 1
    symbols = joined[starts[:, None] + np.arange(-side, side + 1)] if len(starts) else np.zeros((0, width), np.int64)
    columns = symbols + np.arange(width) * (OUTSIDE + 1)
    pointers = np.arange(len(starts) + 1) * width
    values = np.ones(columns.size, np.float32)
    return sparse.csr_matrix((values, columns.ravel(), pointers), (len(starts), width * (OUTSIDE + 1)))


def _known(text: str) -> np.ndarray:
    indices = residue_indices(text)
    return np.where(indices < 0, OTHER, indices)
