"""Gradient boosting, the Tanimoto support vector machine and the descriptor forest."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.baselines.molecule_baselines import DescriptorForest, MoleculeBoosting, TanimotoMachine, tanimoto
from trimer.data.labelled import molecule_features

ALCOHOLS = ["C" * length + "O" for length in range(1, 13)]
ACIDS = ["C" * length + "C(=O)O" for length in range(1, 13)]


def forest(kind: str = "single", seed: int = 0) -> DescriptorForest:
    return DescriptorForest(kind, seed, trees=20)


KINDS = [forest, MoleculeBoosting, TanimotoMachine]


@pytest.mark.parametrize("model", KINDS)
def test_groups_of_atoms_are_learned(model):
    asked, labels = ["CCCCCCO", "CCCCCCCC(=O)O"], np.repeat([0, 1], 12)
    predicted = model("single").fit(ALCOHOLS + ACIDS, 2 * labels, classes=4).predict(asked)
    assert predicted.sum(1) == pytest.approx(1) and predicted.argmax(1).tolist() == [0, 2]
    assert not predicted[:, [1, 3]].any()  # absent from the train split
    both = np.stack([labels, 1 - labels], 1).astype(float)
    both[3::4, 0], both[::3, 1] = np.nan, np.nan
    predicted = model("multi").fit(ALCOHOLS + ACIDS, both).predict(asked)
    assert (predicted > 0.5).tolist() == [[False, True], [True, False]]
    predicted = model("regression").fit(ALCOHOLS + ACIDS, 10 * both).predict(asked)
    assert predicted == pytest.approx(np.array([[0, 10], [10, 0]]), abs=1.5)


@pytest.mark.parametrize("model", KINDS)
def test_rare_classes_single_classes_and_missing_labels_can_be_fitted(model):
    texts = ALCOHOLS + ACIDS
    rare = np.array([0] * 22 + [1, 2])
    predicted = model("single").fit(texts, rare).predict(texts)
    assert predicted.shape == (24, 3) and predicted.sum(1) == pytest.approx(1)
    assert model("single").fit(["CCO", "CCN"], np.array([0, 1])).predict(["CCO"]).shape == (1, 2)
    labels = np.stack([np.ones(24), np.full(24, np.nan)], 1)
    assert model("multi").fit(texts, labels).predict(["CO"]).tolist() == [[1, 0.5]]
    assert model("regression").fit(texts, np.full(24, 2.0)).predict(["CO"]) == pytest.approx(2)


@pytest.mark.parametrize("model", KINDS)
def test_a_seed_gives_the_same_predictions(model):
    texts, labels = ALCOHOLS + ACIDS, np.random.default_rng(0).integers(3, size=24)
    one, same = (model("single", 1).fit(texts, labels).predict(texts) for _ in range(2))
    assert (one == same).all()


def test_the_kernel_is_the_sum_of_minima_over_the_sum_of_maxima():
    one, two = ["CCO", "c1ccccc1O", "C"], ["CCCCO", "OCCO", "c1ccccc1", "N"]
    left, right = (molecule_features.counts(texts).toarray() for texts in (one, two))
    expected = [[np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in right] for a in left]
    kernel = tanimoto(molecule_features.counts(one), molecule_features.counts(two))
    assert kernel == pytest.approx(np.array(expected))
    assert np.diag(tanimoto(molecule_features.counts(two), molecule_features.counts(two))) == pytest.approx(1)


def test_probabilities_of_the_machine_are_calibrated_on_left_out_rows():
    """Labels that cannot be learned get their frequencies, though the machine separates its training rows."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("CNO"), 12)) for _ in range(90)]
    labels = rng.integers(2, size=90)
    predicted = TanimotoMachine("single").fit(texts, labels).predict(texts)
    assert abs(predicted[:, 1].mean() - labels.mean()) < 0.25 and predicted.std() < 0.3
