"""Boosted trees read from LightGBM's text format predict as LightGBM does, and reject damaged text."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from trimer.baselines.boosted_trees import BoostedTrees
from trimer.errors import CheckpointError

ROWS, FEATURES = 300, 6


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.standard_normal((ROWS, FEATURES)).astype(np.float32).round(1)
    values[:, 3] = random.integers(0, 3, ROWS)
    values[random.random((ROWS, FEATURES)) < 0.1] = np.nan
    return values


def fitted(kind: type, features: np.ndarray, labels: np.ndarray, **options):
    return kind(n_estimators=12, num_leaves=9, min_child_samples=3, verbose=-1, n_jobs=1, **options).fit(
        features, labels
    )


@pytest.mark.parametrize("missing", [{}, {"zero_as_missing": True}, {"use_missing": False}])
@pytest.mark.parametrize("target", ["two", "three", "numbers"])
def test_predictions_are_those_of_lightgbm(features, target, missing):
    score = np.nan_to_num(features[:, 0]) + np.nan_to_num(features[:, 3]) + np.isnan(features[:, 1])
    labels = {"two": score > 1, "three": np.digitize(score, [0.5, 1.5]), "numbers": score + 40}[target]
    kind = lightgbm.LGBMRegressor if target == "numbers" else lightgbm.LGBMClassifier
    estimator = fitted(kind, features, labels, **missing)
    text = estimator.booster_.model_to_string()
    unseen = np.vstack([features, np.full((1, FEATURES), np.nan), np.zeros((1, FEATURES))])
    if target == "numbers":
        assert BoostedTrees(text, FEATURES).predict(unseen) == pytest.approx(estimator.predict(unseen), abs=1e-9)
        return
    read = BoostedTrees(text, FEATURES, [int(number) for number in estimator.classes_])
    assert read.predict_proba(unseen) == pytest.approx(estimator.predict_proba(unseen), abs=1e-9)
    assert np.array_equal(read.predict_proba(unseen[:5]), read.predict_proba(unseen)[:5]), "whatever the other rows"


def test_trees_of_one_leaf_and_texts_without_trees_are_read(features):
    constant = fitted(lightgbm.LGBMRegressor, features, np.full(ROWS, 7.0))
    assert BoostedTrees(constant.booster_.model_to_string(), FEATURES).predict(features) == pytest.approx(7.0)
    assert BoostedTrees("", FEATURES, [4]).predict_proba(features[:2]).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("split_feature=", "split_feature=9", "a feature that does not exist"),
        ("left_child=", "left_child=0 ", "values of left_child"),
        ("num_leaves=", "num_leaves=9999", "leaves"),
        ("num_cat=0", "num_cat=1", "categories"),
        ("objective=regression", "objective=../../etc", "objective"),
        ("threshold=", "threshold=x", "could not convert"),
        ("leaf_value=", "leaf_values=", "leaf_value"),
    ],
)
def test_damaged_text_is_rejected(features, old, new, problem):
    text = fitted(lightgbm.LGBMRegressor, features, np.nan_to_num(features[:, 0])).booster_.model_to_string()
    damaged = text.replace(old, new)
    assert damaged != text
    with pytest.raises(CheckpointError, match=problem):
        BoostedTrees(damaged, FEATURES)


def test_splits_by_categories_are_rejected(features):
    text = fitted(lightgbm.LGBMRegressor, features, np.nan_to_num(features[:, 0])).booster_.model_to_string()
    line = next(line for line in text.splitlines() if line.startswith("decision_type="))
    with pytest.raises(CheckpointError, match="a split by categories"):
        BoostedTrees(text.replace(line, f"decision_type=1 {line.partition(' ')[2]}"), FEATURES)


def test_children_outside_the_tree_and_cycles_are_rejected(features):
    text = fitted(lightgbm.LGBMRegressor, features, np.nan_to_num(features[:, 0])).booster_.model_to_string()
    line = next(line for line in text.splitlines() if line.startswith("right_child="))
    _, *others = line.removeprefix("right_child=").split()
    for child, problem in (("8", "no such child"), ("-10", "no such child"), ("0", "a cycle")):
        with pytest.raises(CheckpointError, match=problem):
            BoostedTrees(text.replace(line, f"right_child={' '.join([child, *others])}"), FEATURES)
