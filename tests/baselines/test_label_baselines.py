"""Baselines of labelled sequences: shapes, absent classes, missing labels, and learning from their features."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.baselines.composition import composition
from trimer.baselines.label_baseline import Majority
from trimer.baselines.label_baselines import FOR_MOLECULES, FOR_PROTEINS
from trimer.baselines.linear_baselines import CompositionModel
from trimer.baselines.molecule_baselines import MorganForest
from trimer.errors import ConfigError, InputError

ALCOHOLS = ["C" * length + "O" for length in range(1, 13)]
ACIDS = ["C" * length + "C(=O)O" for length in range(1, 13)]
AMINES = ["C" * length + "N" for length in range(1, 13)]
MEMBRANE = ["MKK" + "LIVFAL" * length + "DE" * 9 for length in range(4, 16)]
SOLUBLE = ["MKD" + "EKQDRS" * length + "LA" * 9 for length in range(4, 16)]


def forest(kind: str) -> MorganForest:
    return MorganForest(kind, trees=20)


def test_majority_predicts_the_frequencies_of_the_train_split():
    predicted = Majority("single").fit(["a", "b", "c", "d"], np.array([0, 2, 2, 2]), classes=4).predict(["x", "y"])
    assert predicted.tolist() == [[0.25, 0, 0.75, 0]] * 2
    labels = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan], [1.0, np.nan]])
    assert Majority("multi").fit(list("abcd"), labels).predict(["x"]) == pytest.approx(np.array([[2 / 3, 0.5]]))
    assert Majority("regression").fit(list("abcd"), labels[:, :1]).predict(["x"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("model", "texts", "asked"),
    [(forest, ALCOHOLS + ACIDS, ["CCCCCCO", "CCCCCCCC(=O)O"]),
     (CompositionModel, SOLUBLE + MEMBRANE, ["EKQDRS" * 7, "LIVFAL" * 7])],
    ids=["forest", "composition"],
)  # fmt: skip
def test_patterns_in_the_features_are_learned(model, texts, asked):
    labels = np.repeat([0, 1], 12)
    predicted = model("single").fit(texts, 2 * labels, classes=4).predict(asked)
    assert predicted.shape == (2, 4)
    assert predicted.sum(1) == pytest.approx(1)
    assert predicted.argmax(1).tolist() == [0, 2]
    assert not predicted[:, [1, 3]].any()  # absent from the train split

    both = np.stack([labels, 1 - labels], 1).astype(float)
    both[3::4, 0], both[::3, 1] = np.nan, np.nan
    predicted = model("multi").fit(texts, both).predict(asked)
    assert (predicted > 0.5).tolist() == [[False, True], [True, False]]

    numbers = 10.0 * both
    numbers[5, 0] = -3
    predicted = model("regression").fit(texts, numbers).predict(asked)
    assert predicted == pytest.approx(np.array([[0, 10], [10, 0]]), abs=4)


@pytest.mark.parametrize("model", [forest, CompositionModel, Majority])
def test_missing_labels_do_not_enter_the_fit(model):
    """The model of a task equals a model fitted on its labelled rows only."""
    texts, labels = ALCOHOLS + ACIDS, np.repeat([[0.0, 1.0], [1.0, 0.0]], 12, axis=0)
    labels[::3, 1] = np.nan
    known = ~np.isnan(labels[:, 1])
    whole = model("multi").fit(texts, labels).predict(texts)
    alone = model("multi").fit([t for t, k in zip(texts, known, strict=True) if k], labels[known, 1:]).predict(texts)
    assert whole[:, 1] == pytest.approx(alone[:, 0])


@pytest.mark.parametrize("model", [forest, CompositionModel])
def test_a_single_class_and_no_labels_can_be_fitted(model):
    assert model("single").fit(ACIDS, np.full(12, 1), classes=3).predict(["CCO"]).tolist() == [[0, 1, 0]]
    labels = np.stack([np.ones(12), np.full(12, np.nan)], 1)
    assert model("multi").fit(ACIDS, labels).predict(["CCO", "CO"]).tolist() == [[1, 0.5]] * 2
    with pytest.raises(InputError, match="task 1 has no label"):
        model("regression").fit(ACIDS, labels)
    with pytest.raises(InputError, match="no training rows"):
        model("single").fit([], np.zeros(0, int))
    with pytest.raises(ConfigError, match="must be one of single, multi, regression"):
        model("binary")


def test_rare_and_frequent_classes_have_equal_weight():
    """An uninformative text gets equal probabilities for the rare and the frequent class."""
    labels = np.array([0] * 10 + [1] * 2)
    predicted = CompositionModel("single").fit(["MKLV"] * 12, labels).predict(["MKLV"])
    assert predicted[0] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert forest("single").fit(["CCO"] * 12, labels).predict(["CCO"])[0] == pytest.approx([0.5, 0.5], abs=0.2)


def test_a_seed_gives_the_same_forest():
    texts, labels = ALCOHOLS + AMINES + ACIDS, np.random.default_rng(0).integers(3, size=36)
    first, same, other = (MorganForest("single", s, trees=5).fit(texts, labels).predict(texts) for s in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


def test_an_invalid_molecule_raises_an_error():
    with pytest.raises(InputError, match="row 1: 'C1CC' cannot be read as SMILES"):
        forest("single").fit(["CCO", "C1CC"], np.array([0, 1]))


def test_predicting_no_rows_gives_no_rows():
    for model in (Majority, forest, CompositionModel):
        assert model("single").fit(ALCOHOLS, np.arange(12) % 2).predict([]).shape == (0, 2)
        assert model("regression").fit(ALCOHOLS, np.zeros((12, 2))).predict([]).shape == (0, 2)


def test_composition_agrees_with_a_hand_calculation():
    vectors = composition(["AARX", "aarx"], ends=(2,))
    assert vectors.shape == (2, 506)
    assert (vectors[0] == vectors[1]).all()
    residues, pairs, end, tail, rest = np.split(vectors[0], [20, 420, 440, 500])
    assert residues[:2] == pytest.approx([2 / 3, 1 / 3]) and residues.sum() == pytest.approx(1)
    assert pairs[[0, 1]].tolist() == [0.5, 0.5]  # AA and AR; RX is no pair
    assert end[0] == 1
    assert np.flatnonzero(tail).tolist() == [0, 21]  # A third to last, R second to last; X is not counted
    assert not composition([""])[0, 460:520].any() and composition(["A"])[0, 500] == 1
    assert rest[0] == pytest.approx((1.8 + 1.8 - 4.5) / 4)
    assert rest[-1] == pytest.approx(np.log(4))


def test_transmembrane_stretches_are_found():
    polar, spanning = "DEKR" * 8, "L" * 25
    rest = composition(["", polar, spanning + polar, polar + spanning + polar + spanning])[:, -6:]
    assert rest[:, 3].tolist() == [0, 0, 1, 2]
    assert rest[2, 1] == pytest.approx(3.8)
    assert np.isfinite(rest).all()


@pytest.mark.parametrize(("table", "texts"), [(FOR_MOLECULES, ALCOHOLS), (FOR_PROTEINS, SOLUBLE)])
@pytest.mark.parametrize("kind", ["single", "multi", "regression"])
def test_each_listed_baseline_is_built_and_fitted(table, texts, kind):
    for build in table.values():
        baseline = build(kind, 3, 1)
        if hasattr(baseline, "trees"):
            baseline.trees = 3
        labels = np.arange(12) % 2 if kind == "single" else np.arange(12)[:, None] % 2.0
        assert np.isfinite(baseline.fit(texts, labels).predict(texts)).all()
        assert (baseline.kind.name, baseline.seed, baseline.note) == (kind, 3, "")


def test_more_rows_than_the_limit_are_drawn_by_the_seed_and_noted(monkeypatch):
    monkeypatch.setattr(forest("single").__class__, "most_rows", 10)
    texts, labels = ALCOHOLS + ACIDS, np.repeat([0, 1], 12)
    fitted = forest("single").fit(texts, labels)
    assert fitted.note == "fitted on 10 of 24 training rows, which bounds its time"
    assert fitted.predict(["CCCCCCO"]).shape == (1, 2)
    same, other = (MorganForest("single", seed, trees=20).fit(texts, labels).predict(texts) for seed in (0, 1))
    assert (fitted.predict(texts) == same).all() and (same != other).any()


def test_rows_without_a_label_do_not_count_against_the_limit(monkeypatch):
    monkeypatch.setattr(MorganForest, "most_rows", 12)
    labels = np.repeat([[1.0], [np.nan]], 12, axis=0)
    fitted = forest("multi").fit(ALCOHOLS + ACIDS, labels)
    assert fitted.note == "" and (fitted.predict(ACIDS) == 1).all()


def test_a_baseline_ends_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr("trimer.baselines.label_baseline.SECONDS", -1.0)
    with pytest.raises(InputError, match="0 of 2 labels were fitted"):
        forest("regression").fit(ALCOHOLS, np.ones((12, 2)))
