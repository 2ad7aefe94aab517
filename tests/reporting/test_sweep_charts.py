"""Axes and colours of runs: logarithmic scales, texts, values that are cut off, shades of equal counts."""

from __future__ import annotations

import math

import pytest

from trimer.reporting.curves import Curve
from trimer.reporting.sweep_charts import Axis, Colours, Row, curve_chart, interval_chart, limits


def test_a_learning_rate_has_a_logarithmic_axis():
    axis = Axis.of_texts("optimizer.lr", ["1e-4", "1e-3", "1e-2", ""])
    assert axis.numbers and list(axis.labels.values()) == ["0.0001", "0.001", "0.01"]
    low, middle, high, missing = axis.positions
    assert 0 < low < high < 1 and middle == pytest.approx((low + high) / 2) and math.isnan(missing)


def test_few_near_numbers_have_a_linear_axis_with_each_value():
    axis = Axis.of_texts("layers", ["2", "4", "8"])
    assert list(axis.labels.values()) == ["2", "4", "8"]
    assert (axis.positions[2] - axis.positions[1]) == pytest.approx(2 * (axis.positions[1] - axis.positions[0]))


def test_texts_share_an_axis_and_the_last_ones_are_others():
    axis = Axis.of_texts("model", ["b", "a", "b", ""])
    assert axis.labels == {0.25: "a", 0.75: "b"} and axis.positions[:3] == [0.75, 0.25, 0.75]
    many = Axis.of_texts("model", [f"model {number:02d}" for number in range(30)])
    assert len(many.labels) == 12 and list(many.labels.values())[-1] == "others"


def test_a_diverged_run_does_not_set_the_range():
    low, high = limits([*(1 + 0.01 * number for number in range(100)), 1e6])
    assert 0.9 < low < 1 and 1.9 < high < 2.1
    assert limits([5.0]) == (4.75, 5.25) and limits([math.nan]) == (0, 1)
    chart = curve_chart("val/loss", {0: Curve([1, 2], [1.0, 2.0]), 1: Curve([1, 2], [1.5, 1.7])}, ["k0", "k1"])
    assert 'class="run k1" data-run="1"' in chart


def test_colours_are_shades_of_numbers_and_classes_of_texts():
    numbers = Colours.of("lr", ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", ""])
    assert numbers.classes == ["s0", "s0", "s1", "s1", "s2", "s2", "s3", "s3", "s4", "s4", "k-none"]
    assert numbers.legend[0] == ("s0", "1 to 2")
    assert Colours.of("layers", ["2", "4"]).classes == ["s0", "s4"]
    texts = Colours.of("model", ["b", "a", "b", *"cdefg"])
    assert texts.classes[:3] == ["k0", "k1", "k0"] and texts.legend[-1] == ("k-none", "others")


def test_rows_with_short_labels_leave_the_room_to_the_chart():
    short, long = (
        interval_chart("test RMSE", [Row(label, 1.0, (0.9, 1.1), {0: 1.0})], ["k0"], {})
        for label in ("ckpt=null", "optimizer.lr=0.003 task.head.pooling=attention")
    )
    assert 'd="M90 ' in short and 'd="M300 ' in long
