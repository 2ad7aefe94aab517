"""Each figure writes its file, also for unusual input."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from trimer.reporting.curves import Curve
from trimer.reporting.figures import (
    draw_curves,
    draw_similarities,
    similarity_distribution,
    spectra_grid,
    training_curves,
    unit_of_loss,
)
from trimer.reporting.style import page_chart

RECORD = {
    "id": "a", "name": "x" * 60, "smiles": "CCO", "adduct": "[M+H]+", "precursor_mz": 47.05, "mz": [29.0, 47.05],
    "intensity": [10.0, 5.0], "candidates": [{"smiles": "CCO"}, "CCC", "C1CC"],
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_training_curves_are_drawn(tmp_path, suffix):
    curves = {
        "train/loss": Curve(list(range(100)), [1.0] * 100),
        "val/loss": Curve([1, 50], [1.0, 0.5]),
        "val/validity": Curve([1, 50], [0.1, 0.9]),
    }
    path = training_curves(curves, tmp_path / f"curves.{suffix}")
    assert path.stat().st_size > 2000


def test_figures_without_data_are_empty(tmp_path):
    assert training_curves({}, tmp_path / "a.png").exists()
    assert similarity_distribution({"model": []}, tmp_path / "b.png").exists()
    assert spectra_grid([], tmp_path / "c.png").exists()


def test_distributions_ignore_nonfinite_values(tmp_path):
    assert similarity_distribution({"model": [0.1, math.nan, 1.0], "look-up": [0.2]}, tmp_path / "h.png").exists()


def test_the_grid_shows_labelled_unlabelled_and_empty_spectra(tmp_path):
    bare = {**RECORD, "smiles": None, "candidates": [], "mz": [], "intensity": [], "precursor_mz": None, "name": None}
    assert spectra_grid([RECORD, bare], tmp_path / "grid.png").stat().st_size > 10_000


def test_no_window_or_global_figure_remains(tmp_path):
    pyplot.close("all")  # figures of other tests
    similarity_distribution({"model": [0.1]}, tmp_path / "h.png")
    assert pyplot.get_fignums() == []


def test_a_chart_is_a_small_svg_without_external_references():
    series = {"train": Curve(list(range(5000)), [math.sin(i) for i in range(5000)]), "val": Curve([1, 20000], [2, 1.5])}
    chart = page_chart("Loss < 1", draw_curves, "loss", series)
    assert chart.startswith('<svg class="chart" role="img" aria-label="Loss &lt; 1" viewBox=')
    ElementTree.fromstring(chart)
    assert "optimizer step" in chart and "validation" in chart and len(chart) < 100_000
    assert not re.search(r"""(href|src)="(?!#)""", chart)
    assert page_chart("Loss < 1", draw_curves, "loss", series) == chart, "the same content gives the same page"


def test_page_and_file_show_the_same_similarities():
    chart = page_chart("x", draw_similarities, {"model & co": [0.0, math.nan, 0.5, 1.0], "empty": []})
    ElementTree.fromstring(chart)
    assert "model &amp; co, mean 0.500" in chart


def test_a_chart_has_the_colours_of_the_page_and_unique_ids():
    charts = [page_chart("x", draw_similarities, {"a": [0.1, value]}) for value in (0.2, 0.9)]
    for chart in charts:
        assert "var(--ink)" in chart and "var(--c-blue)" in chart and "<style" not in chart
        assert not re.search("#(1f2a35|0072b2|ffffff)", chart, re.IGNORECASE)
        ids = re.findall(r' id="([^"]+)"', chart)
        used = re.findall(r'(?:url\(#|href="#)([^")]+)', chart)
        assert used and set(used) == set(ids) and len(ids) == len(set(ids))
    first, second = (set(re.findall(r' id="([^"]+)"', chart)) for chart in charts)
    assert not first & second


def test_the_share_of_spectra_falls_with_the_similarity():
    axis = Figure().subplots()
    draw_similarities(axis, {"model": [0.2, math.nan, 0.4, 0.4, 1.0]})
    (line,) = axis.get_lines()
    assert line.get_xdata().tolist() == [0.0, 0.2, 0.4, 0.4, 1.0, 1.0]
    assert line.get_ydata().tolist() == [100.0, 100.0, 75.0, 50.0, 25.0, 0.0]
    assert axis.get_ylabel() == "spectra (%)"


@pytest.mark.parametrize(
    ("metric", "unit", "label"),
    [("loss", "nats per token", "Loss (nats per token)"), ("loss", "", "Loss"), ("accuracy", "", "Accuracy (%)"),
     ("rmse", "", "RMSE (unit of the label)"), ("mcc", "", "MCC")],
)  # fmt: skip
def test_curves_have_units(metric, unit, label):
    axis = Figure().subplots()
    draw_curves(axis, metric, {"val": Curve([1, 2], [0.1, 0.2])}, unit)
    assert axis.get_ylabel() == label and axis.get_xlabel() == "optimizer step"
    assert unit_of_loss({"val/perplexity": Curve([1], [1.0])}) == "nats per token" and unit_of_loss({}) == ""
