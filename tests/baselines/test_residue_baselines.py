"""Baselines of residues: class frequencies and a window of neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.baselines.residue_baselines import ResidueFrequencies, ResidueWindows, windows
from trimer.errors import InputError


def test_windows_end_with_the_sequence():
    hot = windows(["LAX", "", "G"], side=2).toarray().reshape(4, 5, 22)
    assert (hot.sum(-1) == 1).all()
    leucine, alanine, other, outside = 10, 0, 20, 21
    assert hot.argmax(-1)[0].tolist() == [outside, outside, leucine, alanine, other]
    assert hot.argmax(-1)[2].tolist() == [leucine, alanine, other, outside, outside]
    assert windows([]).shape == (0, 330)


def test_neighbours_are_learned_and_unlabelled_residues_are_left_out():
    """The class of a residue is whether the residue before it is a proline."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("PGAS"), 30)) for _ in range(20)]
    labels = np.concatenate([[0, *(int(residue == "P") for residue in text[:-1])] for text in texts])
    labels[5::7] = -100
    predicted = ResidueWindows().fit(texts, labels, classes=3).predict(["GPGGPP"])
    assert predicted.argmax(1).tolist() == [0, 0, 1, 0, 0, 1] and predicted.shape == (6, 3)
    frequencies = ResidueFrequencies().fit(texts, labels, classes=3).predict(["GP"])
    share = (labels == 1).sum() / (labels >= 0).sum()
    assert frequencies == pytest.approx(np.array([[1 - share, share, 0]] * 2))


def test_labels_must_be_those_of_all_residues():
    with pytest.raises(InputError, match="3 labels for 4 residues"):
        ResidueWindows().fit(["GA", "GA"], np.zeros(3, int))
    with pytest.raises(InputError, match="no residue"):
        ResidueWindows().fit(["GA"], np.full(2, -100))


def test_more_residues_than_the_limit_are_drawn(monkeypatch):
    monkeypatch.setattr(ResidueWindows, "most_rows", 10)
    fitted = ResidueWindows().fit(["GAGAGAGAGA"] * 2, np.array([0, 1] * 10))
    assert fitted.note.startswith("fitted on 10 of 20 labelled residues")
    assert fitted.predict(["GA"]).argmax(1).tolist() == [0, 1]
