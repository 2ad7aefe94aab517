"""Independent code of the peptide benchmark: metrics against scipy, fragment cells, and notations of tables."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the checkout")


@pytest.fixture
def metrics(monkeypatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("peptides_metrics")


@pytest.fixture
def driver(monkeypatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("peptides")


def columns(**values: list) -> dict[str, np.ndarray]:
    return {name: np.array(value, object if isinstance(value[0], str) else None) for name, value in values.items()}


def test_retention_metrics_agree_with_scipy(metrics):
    rng = np.random.default_rng(0)
    measured = rng.normal(50, 40, 300)
    predicted = 0.8 * measured + rng.normal(0, 10, 300)
    values = metrics.retention_metrics(measured, predicted)
    line = stats.linregress(predicted, measured)
    assert values["r2"] == pytest.approx(line.rvalue**2)
    assert values["p95"] == pytest.approx(stats.scoreatpercentile(abs(predicted - measured), 95))
    assert values["R2"] == pytest.approx(1 - np.mean((predicted - measured) ** 2) / np.var(measured))
    assert values["R2"] < values["r2"]  # the slope of 0.8 counts as an error


def test_spectrum_metrics_agree_with_scipy_for_ties(metrics):
    rng = np.random.default_rng(1)
    for _ in range(20):
        measured, predicted = (rng.random(40).round(1) * (rng.random(40) < 0.5) for _ in range(2))
        values = metrics.spectrum_metrics(measured, predicted)
        assert values["Pearson"] == pytest.approx(stats.pearsonr(measured, predicted).statistic)
        assert values["Spearman"] == pytest.approx(stats.spearmanr(measured, predicted).statistic)
        cosine = 1 - distance.cosine(measured, predicted)
        assert values["cosine"] == pytest.approx(cosine)
        assert values["spectral angle"] == pytest.approx(1 - 2 * np.arccos(cosine) / np.pi)
        assert metrics.average_ranks(measured) == pytest.approx(stats.rankdata(measured))


def test_an_identical_spectrum_scores_one_and_an_empty_prediction_zero(metrics):
    measured = np.array([0.0, 1.0, 0.2, 0.0])
    assert list(metrics.spectrum_metrics(measured, 3 * measured).values()) == pytest.approx([1, 1, 1, 1], abs=1e-6)
    assert list(metrics.spectrum_metrics(measured, -measured).values()) == [0, 0, 0, 0]


def test_impossible_fragments_are_ignored(metrics):
    peptides = columns(
        id=[7, 3],
        sequence=["ASAK", "AAA"],
        mods=["Acetyl@Protein_N-term;Phospho@S", ""],
        mod_sites=["0;2", ""],
        charge=[2, 1],
    )
    possible = metrics.possible_cells(peptides)
    first = possible[: 3 * 8].reshape(3, 8)
    assert first[:, :4].all()
    assert first[:, 4:].tolist() == [[False, False, True, True], [True, True, False, False], [True, True, False, False]]
    assert possible[3 * 8 :].reshape(2, 8).tolist() == [[True, False, True, False, False, False, False, False]] * 2
    # H3PO4 loss: first spectrum at y3, its first site; second at y1, its last. Impossible fragments do not count.
    measured = columns(
        id=[3, 7, 7],
        series=["y", "y", "b"],
        number=[1, 3, 1],
        charge=[1, 1, 2],
        loss=["", "H3PO4", ""],
        intensity=[1.0, 1.0, 0.5],
    )
    cells = metrics.fragment_cells(peptides, measured)
    assert np.flatnonzero(cells).tolist() == [1, 6, 3 * 8 + 8 + 2]
    wrong = columns(id=[3], series=["b"], number=[1], charge=[2], loss=[""], intensity=[9.0])
    predicted = {name: np.concatenate([measured[name], wrong[name]]) for name in measured}
    assert metrics.ms2_metrics(peptides, measured, predicted)["mean cosine"] == pytest.approx(1)
    with pytest.raises(ValueError, match="outside its peptide"):
        metrics.fragment_cells(peptides, wrong | {"number": np.array([3])})


def test_a_deepphospho_spectrum_is_read(driver):
    peaks = {"b3+1-1,H3PO4": 40.0, "y1+1-Noloss": 80.0, "b3+1-1,H2O": 100.0, "b2+1-1,H3PO4": 90.0, "y2+3-Noloss": 9.0}
    precursor, ions = driver.parse_spectrum("*AC2DE1K.2", peaks)
    assert precursor["sequence"] == "ACSDEMK"
    assert precursor["mods"] == "Acetyl@Protein_N-term;Phospho@S;Oxidation@M"
    assert precursor["mod_sites"] == "0;3;6"
    assert precursor["proforma"] == "[UNIMOD:1]-ACS[UNIMOD:21]DEM[UNIMOD:35]K"
    assert [(ion["series"], ion["number"], ion["loss"], ion["intensity"]) for ion in ions] == [
        ("b", 3, "H3PO4", 0.5),
        ("y", 1, "", 1.0),
    ]


def test_a_table_of_fragments_round_trips(metrics):
    peptides = columns(id=[4, 2], sequence=["AAAA", "AAA"], mods=["", ""], mod_sites=["", ""], charge=[2, 2])
    values = np.arange(1.0, 41).reshape(5, 8)
    table = metrics.site_table(peptides["id"], np.array([4, 3]), values)
    assert metrics.fragment_cells(peptides, table).tolist() == values.ravel().tolist()
