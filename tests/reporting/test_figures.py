"""Figures: each writes its file, for odd input too."""

from __future__ import annotations

import math
import sys

import pytest

from trimer.reporting.curves import Curve
from trimer.reporting.figures import spectra_grid, tanimoto_histogram, training_curves

RECORD = {
    "id": "a", "name": "x" * 60, "smiles": "CCO", "adduct": "[M+H]+", "precursor_mz": 47.05, "mz": [29.0, 47.05],
    "intensity": [10.0, 5.0], "candidates": [{"smiles": "CCO"}, "CCC", "C1CC"],
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_training_curves(tmp_path, suffix):
    curves = {
        "train/loss": Curve(list(range(100)), [1.0] * 100),
        "val/loss": Curve([1, 50], [1.0, 0.5]),
        "val/validity": Curve([1, 50], [0.1, 0.9]),
    }
    path = training_curves(curves, tmp_path / f"curves.{suffix}")
    assert path.stat().st_size > 2000


def test_figures_of_nothing_are_empty_not_errors(tmp_path):
    assert training_curves({}, tmp_path / "a.png").exists()
    assert tanimoto_histogram({"model": []}, tmp_path / "b.png").exists()
    assert spectra_grid([], tmp_path / "c.png").exists()


def test_histogram_leaves_out_what_is_no_number(tmp_path):
    assert tanimoto_histogram({"model": [0.1, math.nan, 1.0], "look-up": [0.2]}, tmp_path / "h.png").exists()


def test_grid_of_labelled_unlabelled_and_empty_spectra(tmp_path):
    bare = {**RECORD, "smiles": None, "candidates": [], "mz": [], "intensity": [], "precursor_mz": None, "name": None}
    assert spectra_grid([RECORD, bare], tmp_path / "grid.png").stat().st_size > 10_000


def test_no_window_and_no_global_figure_is_left(tmp_path):
    tanimoto_histogram({"model": [0.1]}, tmp_path / "h.png")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
