"""Similarity of spectra agrees with numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from trimer.metrics.fragment_metrics import measured_spectra, per_spectrum, summary


def spectra(seed: int = 0):
    random = np.random.default_rng(seed)
    sizes = [5, 9, 3]
    measured = np.where(random.random((17, 4)) < 0.4, 0, random.random((17, 4)))
    measured[random.random((17, 4)) < 0.3] = -1
    return random.random((17, 4)), measured, sizes


def test_each_metric_uses_the_possible_fragments_of_one_spectrum():
    predicted, measured, sizes = spectra()
    values = per_spectrum(predicted, measured, sizes)
    for row, (a, b) in enumerate([(0, 5), (5, 14), (14, 17)]):
        can = measured[a:b] >= 0
        p, t = predicted[a:b][can], measured[a:b][can]
        cosine = p @ t / np.linalg.norm(p) / np.linalg.norm(t)
        assert values["cos"][row] == pytest.approx(cosine)
        assert values["sa"][row] == pytest.approx(1 - 2 * np.arccos(cosine) / np.pi)
        assert values["pcc"][row] == pytest.approx(pearsonr(p, t).statistic)
        assert values["spc"][row] == pytest.approx(spearmanr(p, t).statistic)
        assert values["l1"][row] == pytest.approx(np.abs(p - t).mean())


def test_values_of_impossible_fragments_are_ignored():
    predicted, measured, sizes = spectra()
    changed = np.where(measured < 0, 99.0, predicted)
    expected, result = per_spectrum(predicted, measured, sizes), per_spectrum(changed, measured, sizes)
    assert all(np.array_equal(expected[name], result[name]) for name in expected)


def test_identical_orthogonal_flat_and_empty_spectra_have_known_metrics():
    same = np.array([[0.2, 1.0], [0.0, 0.5]])
    identical = per_spectrum(same * 3, same, [2])
    assert identical["cos"][0] == pytest.approx(1) and identical["sa"][0] == pytest.approx(1, abs=1e-6)
    apart = per_spectrum(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), [1])
    assert apart["cos"][0] == 0 and apart["sa"][0] == pytest.approx(0)
    flat = per_spectrum(np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]), [1])
    assert flat["cos"][0] == pytest.approx(1) and np.isnan(flat["pcc"][0]) and np.isnan(flat["spc"][0])
    dark = per_spectrum(np.zeros((1, 2)), np.array([[0.1, 1.0]]), [1])
    assert dark["cos"][0] == 0 and dark["l1"][0] == pytest.approx(0.55)
    none = per_spectrum(np.zeros((1, 2)), np.full((1, 2), -1.0), [1])
    assert np.isnan(none["cos"][0])


def test_medians_and_means_are_named_and_ignore_undefined_values():
    values = {"cos": np.array([0.1, 0.2, 0.9, np.nan]), "pcc": np.full(4, np.nan)}
    assert summary(values) == pytest.approx({"cos_median": 0.2, "cos_mean": 0.4})
    measured = measured_spectra({"cos": np.random.default_rng(0).random(400), "pcc": np.full(400, np.nan)}, 300)
    assert "pcc_mean" not in measured.values
    assert measured.values["cos_mean_std_error"] == pytest.approx(0.289 / 20, rel=0.15)


def test_shared_zeros_inflate_the_rank_correlation_of_random_spectra():
    """The reason why the rank correlation is never reported alone."""
    random = np.random.default_rng(0)
    zero = random.random((60, 4)) < 0.5
    first, second = (np.where(zero, 0, random.random((60, 4))) for _ in range(2))
    assert per_spectrum(first, second, [60])["spc"][0] > 0.7
