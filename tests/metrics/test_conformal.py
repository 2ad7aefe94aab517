"""Intervals by split conformal prediction."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.metrics.conformal import UNKNOWN, half_widths
from trimer.metrics.label_metrics import regression


def test_intervals_cover_nine_in_ten_new_numbers_whatever_the_errors():
    """The mean coverage over calibrations is at least the level, and at most 1 / (n + 1) above it."""
    random = np.random.default_rng(0)
    for draw in (random.standard_normal, random.standard_cauchy, random.standard_exponential):
        covered = [(np.abs(draw(400)) <= half_widths(np.zeros((24, 1)), draw((24, 1)))[0]).mean() for _ in range(1000)]
        assert 0.9 - 0.006 < np.mean(covered) < 0.9 + 1 / 25 + 0.006


def test_the_half_width_is_the_error_of_its_rank():
    labels = np.arange(1.0, 10.0)[:, None] * [1, -10]
    assert half_widths(np.zeros((9, 2)), labels).tolist() == [9, 90], "ceil(10 x 0.9) = 9 of 9"
    assert half_widths(np.zeros((8, 2)), labels[:8]).tolist() == [UNKNOWN] * 2, "8 rows have no 90 % interval"
    labels[0, 0] = np.nan
    assert half_widths(np.zeros((9, 2)), labels).tolist() == [UNKNOWN, 90]
    assert half_widths(np.zeros((19, 1)), np.arange(19.0)[:, None]).tolist() == [17], "ceil(20 x 0.9) = 18 of 19"


def test_coverage_and_width_are_measured_for_each_label():
    predicted, labels = np.zeros((4, 2)), np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 7.0], [-4.0, 9.0]])
    values = regression(predicted, labels, ["A", "B"], half_widths=np.array([2.0, 7.0])).values
    assert (values["A/coverage"], values["B/coverage"]) == (0.5, pytest.approx(2 / 3))
    assert (values["A/interval_width"], values["B/interval_width"]) == (4, 14)
    assert values["coverage"] == pytest.approx(7 / 12) and "coverage_std_error" in values
    one = regression(predicted, labels, ["A", "B"], half_widths=np.array([2.0, np.nan]))
    assert one.values["coverage"] == 0.5 and np.isnan(one.values["B/coverage"]), "not 0: there is no interval"
    assert "coverage" not in regression(predicted, labels, ["A", "B"]).values
