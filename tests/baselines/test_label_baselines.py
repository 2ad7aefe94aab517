"""Baselines of labelled sequences: shapes, absent classes, missing labels, and that each learns what it can see."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.baselines.composition import composition
from trimer.baselines.label_baselines import FOR_MOLECULES, FOR_PROTEINS, CompositionModel, Majority, MorganForest
from trimer.errors import InputError

ALCOHOLS = ["C" * length + "O" for length in range(1, 13)]
ACIDS = ["C" * length + "C(=O)O" for length in range(1, 13)]
AMINES = ["C" * length + "N" for length in range(1, 13)]
MEMBRANE = ["MKK" + "LIVFAL" * length + "DE" * 9 for length in range(4, 16)]
SOLUBLE = ["MKD" + "EKQDRS" * length + "LA" * 9 for length in range(4, 16)]


def forest(kind: str) -> MorganForest:
    return MorganForest(kind, trees=20)


def test_majority_is_the_frequency_in_train():
    said = Majority("single").fit(["a", "b", "c", "d"], np.array([0, 2, 2, 2]), classes=4).predict(["x", "y"])
    assert said.tolist() == [[0.25, 0, 0.75, 0]] * 2
    labels = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan], [1.0, np.nan]])
    assert Majority("multi").fit(list("abcd"), labels).predict(["x"]) == pytest.approx(np.array([[2 / 3, 0.5]]))
    assert Majority("regression").fit(list("abcd"), labels[:, :1]).predict(["x"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("model", "texts", "asked"),
    [(forest, ALCOHOLS + ACIDS, ["CCCCCCO", "CCCCCCCC(=O)O"]),
     (CompositionModel, SOLUBLE + MEMBRANE, ["EKQDRS" * 7, "LIVFAL" * 7])],
    ids=["forest", "composition"],
)  # fmt: skip
def test_what_the_features_show_is_learnt(model, texts, asked):
    labels = np.repeat([0, 1], 12)
    said = model("single").fit(texts, 2 * labels, classes=4).predict(asked)
    assert said.shape == (2, 4)
    assert said.sum(1) == pytest.approx(1)
    assert said.argmax(1).tolist() == [0, 2]
    assert not said[:, [1, 3]].any()  # absent from train

    both = np.stack([labels, 1 - labels], 1).astype(float)
    both[3::4, 0], both[::3, 1] = np.nan, np.nan
    said = model("multi").fit(texts, both).predict(asked)
    assert (said > 0.5).tolist() == [[False, True], [True, False]]

    numbers = 10.0 * both
    numbers[5, 0] = -3
    said = model("regression").fit(texts, numbers).predict(asked)
    assert said == pytest.approx(np.array([[0, 10], [10, 0]]), abs=4)


@pytest.mark.parametrize("model", [forest, CompositionModel, Majority])
def test_a_missing_label_teaches_nothing(model):
    """The model of a task is the one that the labelled rows alone would give."""
    texts, labels = ALCOHOLS + ACIDS, np.repeat([[0.0, 1.0], [1.0, 0.0]], 12, axis=0)
    labels[::3, 1] = np.nan
    known = ~np.isnan(labels[:, 1])
    whole = model("multi").fit(texts, labels).predict(texts)
    alone = model("multi").fit([t for t, k in zip(texts, known, strict=True) if k], labels[known, 1:]).predict(texts)
    assert whole[:, 1] == pytest.approx(alone[:, 0])


@pytest.mark.parametrize("model", [forest, CompositionModel])
def test_one_class_alone_and_no_label_at_all(model):
    assert model("single").fit(ACIDS, np.full(12, 1), classes=3).predict(["CCO"]).tolist() == [[0, 1, 0]]
    labels = np.stack([np.ones(12), np.full(12, np.nan)], 1)
    assert model("multi").fit(ACIDS, labels).predict(["CCO", "CO"]).tolist() == [[1, 0.5]] * 2
    with pytest.raises(InputError, match="task 1 has no label"):
        model("regression").fit(ACIDS, labels)
    with pytest.raises(InputError, match="no training rows"):
        model("single").fit([], np.zeros(0, int))
    with pytest.raises(ValueError, match="use one of single, multi, regression"):
        model("binary")


def test_rare_classes_weigh_as_much_as_frequent_ones():
    """A text that tells nothing is as likely to be of the rare class as of the frequent one."""
    labels = np.array([0] * 10 + [1] * 2)
    said = CompositionModel("single").fit(["MKLV"] * 12, labels).predict(["MKLV"])
    assert said[0] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert forest("single").fit(["CCO"] * 12, labels).predict(["CCO"])[0] == pytest.approx([0.5, 0.5], abs=0.2)


def test_a_seed_gives_the_same_forest():
    texts, labels = ALCOHOLS + AMINES + ACIDS, np.random.default_rng(0).integers(3, size=36)
    one, same, other = (MorganForest("single", s, trees=5).fit(texts, labels).predict(texts) for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_text_that_is_no_molecule():
    with pytest.raises(InputError, match="row 1: 'C1CC' cannot be read as SMILES"):
        forest("single").fit(["CCO", "C1CC"], np.array([0, 1]))


def test_nothing_is_asked():
    for model in (Majority, forest, CompositionModel):
        assert model("single").fit(ALCOHOLS, np.arange(12) % 2).predict([]).shape == (0, 2)
        assert model("regression").fit(ALCOHOLS, np.zeros((12, 2))).predict([]).shape == (0, 2)


def test_composition_by_hand():
    found = composition(["AARX", "aarx"], ends=(2,))
    assert found.shape == (2, 446)
    assert (found[0] == found[1]).all()
    residues, pairs, end, rest = np.split(found[0], [20, 420, 440])
    assert residues[:2] == pytest.approx([2 / 3, 1 / 3]) and residues.sum() == pytest.approx(1)
    assert pairs[[0, 1]].tolist() == [0.5, 0.5]  # AA and AR; RX is no pair
    assert end[0] == 1
    assert rest[0] == pytest.approx((1.8 + 1.8 - 4.5) / 4)
    assert rest[-1] == pytest.approx(np.log(4))


def test_stretches_that_span_a_membrane():
    polar, spanning = "DEKR" * 8, "L" * 25
    rest = composition(["", polar, spanning + polar, polar + spanning + polar + spanning])[:, -6:]
    assert rest[:, 3].tolist() == [0, 0, 1, 2]
    assert rest[2, 1] == pytest.approx(3.8)
    assert np.isfinite(rest).all()


@pytest.mark.parametrize(("table", "texts"), [(FOR_MOLECULES, ALCOHOLS), (FOR_PROTEINS, SOLUBLE)])
@pytest.mark.parametrize("kind", ["single", "multi", "regression"])
def test_tables_build_them_by_kind_and_seed(table, texts, kind):
    for build in table.values():
        baseline = build(kind, 3)
        if isinstance(baseline, MorganForest):
            baseline.trees = 3
        labels = np.arange(12) % 2 if kind == "single" else np.arange(12)[:, None] % 2.0
        assert np.isfinite(baseline.fit(texts, labels).predict(texts)).all()
        assert (baseline.kind, baseline.seed) == (kind, 3)
