"""Shared by drawings of spectra: relative intensities, the precursor, readable labels."""

from __future__ import annotations

import math

import pytest

from trimer.reporting.labelled_peaks import RelativeSpectrum, place_labels


def labels(*peaks: tuple[float, float, str]) -> list[str]:
    """Labels with a width of 5 units per letter and a height of 0.17, for peaks of at least 0.2."""
    tips = [(position, height) for position, height, _ in peaks]
    return [peaks[index][2] for index in place_labels(tips, [2.5 * len(label) for *_, label in peaks], 0.17, 0.2)]


def test_the_highest_of_close_peaks_is_labelled():
    assert labels((100, 0.5, "y1+"), (104, 0.9, "b2+")) == ["b2+"]
    assert labels((100, 0.5, "y1+"), (200, 0.9, "b2+")) == ["b2+", "y1+"]


def test_labels_do_not_overlap():
    assert labels((100, 0.5, "y1+"), (112, 0.45, "b2+")) == ["y1+"]
    assert labels((100, 0.9, "y1+"), (112, 0.45, "b2+")) == ["y1+", "b2+"], "one is well above the other"


def test_low_peaks_have_no_label():
    assert labels((100, 0.1, "y1+"), (300, 0.15, "y3+")) == []


def test_intensities_are_relative_and_the_precursor_is_recognised():
    spectrum = RelativeSpectrum.of([100.0, 150.0, 200.2], [5, 0, 10], 200.0)
    assert spectrum.peaks == [(100.0, 0.5), (200.2, 1.0)]
    assert spectrum.limits == pytest.approx((100 - 0.06 * 100.2, 200.2 + 0.06 * 100.2))
    assert spectrum.is_precursor(200.2) and not spectrum.is_precursor(100.0)


@pytest.mark.parametrize("precursor", [None, math.nan, 0.0])
def test_nothing_is_drawn_without_peaks_and_precursor(precursor):
    spectrum = RelativeSpectrum.of([], [], precursor)
    assert spectrum.precursor is None and spectrum.limits is None and not spectrum.is_precursor(0.0)
