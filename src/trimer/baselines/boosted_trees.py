"""Gradient-boosted trees from LightGBM's text format, read and evaluated with NumPy.

Text of an unknown source must not reach LightGBM's own parser, which trusts every index in it. Here all sizes and
indices are checked first. Only numerical splits are read, as `trimer.baselines.molecule_baselines` makes them.
Shapes: n rows, F features, T trees, N inner nodes and L leaves of the largest tree, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit, softmax

from trimer.errors import CheckpointError

LONGEST = 64_000_000  # characters of a model
MOST_TREES = 50_000
MOST_LEAVES = 1_024  # of a tree
MOST_NODES = 5_000_000  # of all trees together, as large as the largest: 200 MB
CELLS = 1_000_000  # rows times trees that are computed at once
OBJECTIVES = ("binary", "multiclass", "regression")
CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a decision type; the next two hold the type of missing values
ZERO_MISSING, NAN_MISSING = 1, 2
LEAST = 1e-35  # up to which a value counts as 0 where 0 is missing, as in LightGBM


class BoostedTrees:
    """A fitted model that predicts as LightGBM does, with the methods of an estimator of scikit-learn.

    text: as `Booster.model_to_string` writes it. features: F. classes: (C,) numbers of the classes, empty for numbers.
    A text without trees stands for a single class. CheckpointError for a text that is not such a model.
    """

    def __init__(self, text: str, features: int, classes: Sequence[int] = ()):
        if len(text) > LONGEST:
            raise CheckpointError(f"boosted trees of {len(text):,} characters exceed the limit of {LONGEST:,}")
        self.classes_ = np.array(classes, np.int64)
        try:
            head, *trees = text.split("\nTree=")
            self.groups = 1
            self.objective = ""
            if trees:
                self._read_head(fields_of(head))
            self._read_trees([fields_of(tree.partition("\nend of trees")[0]) for tree in trees], features)
        except (KeyError, ValueError, OverflowError) as error:
            raise CheckpointError(f"the boosted trees are damaged ({error}): calibrate the checkpoint again") from error

    def _read_head(self, fields: Mapping[str, str]) -> None:
        self.objective, self.groups = fields["objective"].split()[0], int(fields["num_tree_per_iteration"])
        check(self.objective in OBJECTIVES, f"objective {self.objective!r}")
        outputs = {"binary": 2, "regression": 0}.get(self.objective, self.groups)
        check(outputs == len(self.classes_), f"{outputs} classes in the text, {len(self.classes_)} in the checkpoint")
        check(self.groups == (outputs if self.objective == "multiclass" else 1), f"{self.groups} trees per iteration")

    def _read_trees(self, trees: Sequence[Mapping[str, str]], features: int) -> None:
        check(len(trees) <= MOST_TREES, f"{len(trees):,} trees")
        check(len(trees) % self.groups == 0, f"{len(trees)} trees for {self.groups} classes")
        sizes = [int(tree["num_leaves"]) for tree in trees]
        check(all(1 <= size <= MOST_LEAVES for size in sizes), f"trees of {sorted(set(sizes))} leaves")
        leaves = max(sizes, default=1)
        check(len(trees) * leaves <= MOST_NODES, f"{len(trees):,} trees of up to {leaves:,} leaves")
        shape = (len(trees), max(leaves - 1, 1))
        self.feature, self.left, self.right = np.zeros(shape, np.int32), np.full(shape, -1), np.full(shape, -1)
        self.threshold, self.kind = np.zeros(shape), np.zeros(shape, np.int32)
        self.leaf = np.zeros((len(trees), leaves))
        for number, (tree, size) in enumerate(zip(trees, sizes, strict=True)):
            check(tree.get("num_cat", "0") == "0" and tree.get("is_linear", "0") == "0", "categories or linear leaves")
            self.leaf[number, :size] = numbers(tree, "leaf_value", size, float)
            if size == 1:  # the one node leads to leaf 0 in any case
                continue
            count = size - 1
            self.feature[number, :count] = numbers(tree, "split_feature", count, int)
            self.threshold[number, :count] = numbers(tree, "threshold", count, float)
            self.kind[number, :count] = numbers(tree, "decision_type", count, int)
            self.left[number, :count] = numbers(tree, "left_child", count, int)
            self.right[number, :count] = numbers(tree, "right_child", count, int)
            for child in (self.left[number, :count], self.right[number, :count]):
                inner = child >= 0
                check(bool((child[inner] > np.arange(count)[inner]).all()), f"tree {number} has a cycle")
                check(bool((child < count).all() and (child >= -size).all()), f"tree {number} has no such child")
        check(bool(((self.feature >= 0) & (self.feature < features)).all()), "a feature that does not exist")
        check(not (self.kind & CATEGORICAL).any(), "a split by categories")
        check(bool(np.isfinite(self.leaf).all()), "a leaf that is not finite")
        self.deepest = leaves

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(n, C) sums of the leaves of each class, (n, 1) of two classes and of numbers."""
        out = np.zeros((len(features), self.groups))
        step = max(1, CELLS // max(len(self.leaf), 1))
        for start in range(0, len(features), step):
            values = self._leaves(features[start : start + step])
            out[start : start + step] = values.reshape(len(values), -1, self.groups).sum(1)
        return out

    def _leaves(self, features: np.ndarray) -> np.ndarray:
        """(n, T) value of the leaf that each row reaches in each tree."""
        trees = np.arange(len(self.leaf))[None]
        node = np.zeros((len(features), len(self.leaf)), np.int64)
        rows = np.arange(len(features))[:, None]
        for _ in range(self.deepest):
            inner = np.maximum(node, 0)
            value = features[rows, self.feature[trees, inner]].astype(np.float64)
            kind = self.kind[trees, inner]
            missing = (kind >> 2) & 3
            unknown = np.isnan(value)
            value = np.where(unknown, 0.0, value)
            absent = (unknown & (missing == NAN_MISSING)) | ((np.abs(value) <= LEAST) & (missing == ZERO_MISSING))
            go_left = np.where(absent, (kind & DEFAULT_LEFT) > 0, value <= self.threshold[trees, inner])
            child = np.where(go_left, self.left[trees, inner], self.right[trees, inner])
            node = np.where(node < 0, node, child)
            if (node < 0).all():
                break
        return self.leaf[trees, ~node]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(n,) numbers."""
        return self.scores(features)[:, 0]

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """(n, C) probabilities of the classes."""
        if not self.objective:
            return np.ones((len(features), 1))
        scores = self.scores(features)
        if self.objective == "binary":
            return np.hstack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)


def fields_of(text: str) -> dict[str, str]:
    """The lines `name=value` of a section."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def numbers(fields: Mapping[str, str], name: str, count: int, kind: type) -> list:
    """The `count` numbers of a field; ValueError for another count."""
    values = [kind(value) for value in fields[name].split()]
    check(len(values) == count, f"{len(values)} values of {name} for {count}")
    return values


def check(is_right: bool, problem: str) -> None:
    """ValueError with the problem unless all is right."""
    if not is_right:
        raise ValueError(problem)
