"""Names of peaks are written where they can be read."""

from __future__ import annotations

from trimer.reporting.fragment_figures import readable


def names(*peaks: tuple[float, float, str]) -> list[str]:
    return [peak[2] for peak in readable([(*peak, "blue") for peak in peaks], letter=5.0)]


def test_the_highest_of_near_peaks_has_its_name():
    assert names((100, 0.5, "y1+"), (104, 0.9, "b2+")) == ["b2+"]
    assert names((100, 0.5, "y1+"), (200, 0.9, "b2+")) == ["b2+", "y1+"]


def test_names_do_not_lie_side_by_side_over_one_another():
    assert names((100, 0.5, "y1+"), (112, 0.45, "b2+")) == ["y1+"]
    assert names((100, 0.9, "y1+"), (112, 0.45, "b2+")) == ["y1+", "b2+"], "one is well above the other"


def test_predicted_and_measured_do_not_disturb_each_other():
    assert names((100, 0.5, "y1+"), (100, -0.9, "y1+")) == ["y1+", "y1+"]


def test_low_peaks_have_no_name():
    assert names((100, 0.1, "y1+"), (300, -0.1, "y3+")) == []
