"""Figures of classified sequences: their values, and unusual input that gives a figure instead of an error."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.decomposition import PCA

from trimer.reporting.label_figures import (
    COLOURS_OF_CLASSES,
    REST,
    Classes,
    confusion_matrix,
    embedding_map,
    embedding_maps,
    project,
    reliability,
    yes_or_no,
)

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]
TRAIN = np.arange(40) < 30


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("count", [2, 5, 25])
def test_the_confusion_matrix_shows_counts_and_names(tmp_path, suffix, count):
    counts = RANDOM.poisson(2 + 30 * np.eye(count))
    counts[0] = 0  # a class that does not occur
    names = [f"class {number} " + "x" * number * 3 for number in range(count)]
    path = confusion_matrix(counts, names, tmp_path / f"new/c.{suffix}")
    assert path.stat().st_size > 4000
    if suffix == "svg":
        text = path.read_text()
        assert f"Accuracy {counts.trace() / counts.sum():.1%} (n = {counts.sum():,})" in text
        assert f">{counts[1, 1]}</" in text


def test_class_names_are_not_parsed_as_formulas(tmp_path):
    names = ["$x_$", r"$\frac{$", "100 % & <b>"]
    text = confusion_matrix(np.eye(3, dtype=int), names, tmp_path / "c.svg").read_text()
    assert "$x_$" in text and r"$\frac{$" in text
    labels = np.arange(40) % 3
    assert embedding_map(VECTORS, VECTORS, labels, tmp_path / "e.png", train=TRAIN, classes=names).stat().st_size > 4000


def test_the_number_of_names_and_counts_must_agree(tmp_path):
    with pytest.raises(ValueError, match="for 2 classes"):
        confusion_matrix(np.eye(3), ["a", "b"], tmp_path / "c.png")


def test_the_reliability_diagram_states_each_error(tmp_path):
    labels = RANDOM.integers(3, size=200)
    sure = 0.04 + 0.88 * np.eye(3)[(labels + (RANDOM.random(200) < 0.4)) % 3]
    modest = np.full((200, 3), 1 / 3)
    text = reliability({"sure": sure, "modest": modest}, labels, tmp_path / "r.svg").read_text()
    right = (sure.argmax(1) == labels).mean()
    assert f"sure, top-label ECE {abs(right - 0.92):.3f}" in text
    assert f"modest, top-label ECE {abs((labels == 0).mean() - 1 / 3):.3f}" in text
    assert "probability of the predicted class" in text


def test_the_reliability_of_two_classes_refers_to_the_second(tmp_path):
    probabilities = np.tile([0.6, 0.4], (10, 1))
    text = reliability(probabilities, np.array([1, *[0] * 9]), tmp_path / "r.svg").read_text()
    assert "probability of the second class" in text and ">ECE 0.300" in text


def test_reliability_of_binary_labels_and_of_no_rows(tmp_path):
    labels = np.array([[1.0, np.nan], [0.0, 1.0]])
    text = reliability(np.array([[0.9, 0.2], [0.2, 0.7]]), labels, tmp_path / "r.svg").read_text()
    assert "probability of “yes”" in text
    assert f"ECE {(0.1 + 0.2 + 0.3) / 3:.3f}" in text
    assert reliability(np.zeros((0, 3)), np.zeros(0, int), tmp_path / "r.png").exists()


def test_components_are_fitted_on_the_train_rows():
    points, explained = project(VECTORS, TRAIN)
    fitted = PCA(2).fit(VECTORS[TRAIN])
    assert points == pytest.approx(fitted.transform(VECTORS))
    assert explained == pytest.approx(fitted.explained_variance_ratio_)
    far = VECTORS.copy()
    far[~TRAIN] *= 100
    assert project(far, TRAIN)[0][TRAIN] == pytest.approx(points[TRAIN])


@pytest.mark.parametrize(
    ("vectors", "train"),
    [(VECTORS[:, :1], TRAIN), (np.ones((40, 6)), TRAIN), (VECTORS, TRAIN & False), (VECTORS, np.arange(40) == 3),
     (np.zeros((0, 6)), np.zeros(0, bool))],
    ids=["one number wide", "all the same", "no train row", "one train row", "no row"],
)  # fmt: skip
def test_a_component_that_does_not_exist_is_zero(vectors, train):
    points, explained = project(vectors, train)
    assert points.shape == (len(vectors), 2)
    assert not points[:, 1].any() and explained[1] == 0
    assert np.isfinite(points).all() and np.isfinite(explained).all()


def test_nonfinite_vectors_are_rejected():
    broken = VECTORS.copy()
    broken[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7 of the embeddings"):
        project(broken, TRAIN)


def test_frequent_classes_have_a_colour_and_the_others_share_one():
    room = len(COLOURS_OF_CLASSES)
    assert len(set(COLOURS_OF_CLASSES)) == room
    labels = np.repeat(np.arange(room + 3), np.arange(room + 3) + 1)  # frequent classes are drawn higher
    shown = Classes.of(labels, [f"c{number}" for number in range(room + 3)])
    assert shown.names == [f"c{number}" for number in range(room + 2, 2, -1)] + [REST]
    assert [shown.names[place] for place in shown.of_row[[0, 5, -1]]] == [REST, REST, f"c{room + 2}"]
    few = Classes.of(np.array([4, 4, 2]), ["a", "b", "c", "d", "e"])
    assert (few.names, few.of_row.tolist()) == (["e", "c"], [0, 0, 1])


def test_the_map_states_the_explained_variance(tmp_path):
    labels = np.arange(40) % 3
    text = embedding_map(VECTORS, VECTORS * 2, labels, tmp_path / "m.svg", TRAIN, ["a & b", "b", "c"]).read_text()
    share = project(VECTORS, TRAIN)[1]
    assert text.count(f"variance explained: {share[0]:.1%} + {share[1]:.1%}") == 2
    assert "Before fine-tuning" in text and "After fine-tuning" in text and "a &amp; b" in text


def test_umap_is_fitted_on_the_train_rows():
    pytest.importorskip("umap")
    points, explained = project(VECTORS, TRAIN, "umap")
    assert points.shape == (len(VECTORS), 2) and np.isfinite(points).all() and np.isnan(explained).all()
    others = np.where(TRAIN[:, None], VECTORS, VECTORS + 1)
    assert project(others, TRAIN, "umap")[0][TRAIN] == pytest.approx(points[TRAIN])


def test_maps_of_numbers_a_single_class_and_no_rows_are_drawn(tmp_path):
    pyplot.close("all")  # figures of other tests
    numbers = np.where(np.arange(40) % 5 == 0, np.nan, VECTORS[:, 0])
    assert embedding_map(VECTORS, VECTORS, numbers, tmp_path / "n.png", TRAIN, name="logD").stat().st_size > 10_000
    assert embedding_map(VECTORS, VECTORS, np.full(40, np.nan), tmp_path / "n.png", TRAIN).exists()
    assert embedding_map(VECTORS, VECTORS, np.zeros(40, int), tmp_path / "o.png").exists()
    assert embedding_map(VECTORS[:0], VECTORS[:0], np.zeros(0, int), tmp_path / "p.png").exists()
    assert pyplot.get_fignums() == []


def test_yes_or_no_labels_have_a_row_of_maps_each(tmp_path):
    values = np.where(np.arange(40) % 3 == 0, 1.0, np.where(np.arange(40) % 3 == 1, 0.0, np.nan))
    assert yes_or_no(values)[:3].tolist() == [0, 1, 2], "yes, no, unknown"
    text = embedding_maps(VECTORS, VECTORS, {"a <b>": values, "none known": values * np.nan}, tmp_path / "m.svg", TRAIN)
    text = text.read_text()
    assert "before fine-tuning, 14 yes of 27 known" in text and "before fine-tuning, 0 yes of 0 known" in text
    assert text.count("variance explained") == 4, "two maps for each label"
    assert text.count("after fine-tuning") == 2 and "unknown" in text
