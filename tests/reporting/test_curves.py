"""Curves from metrics.csv."""

from __future__ import annotations

import pytest

from trimer.errors import InputError
from trimer.reporting.curves import Curve, one_straight_line, panels, read_curves

METRICS = """step,epoch,train/loss,val/loss,val/tanimoto@1,lr
10,0,3.0,,,0.001
20,0,2.0,2.5,0.1,0.001
30,1,nan,,,
40,1,1.5,2.2,0.15,0.0005
"""


def test_empty_cells_and_nan_are_skipped(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curves = read_curves(tmp_path / "metrics.csv")
    assert curves["train/loss"] == Curve([10, 20, 40], [3.0, 2.0, 1.5])
    assert curves["val/tanimoto@1"] == Curve([20, 40], [0.1, 0.15])
    assert "epoch" not in curves


def test_panels_show_train_and_validation_together():
    curve = Curve([1, 2], [1.0, 0.5])
    drawn = panels(
        {"val/tanimoto@1": curve, "train/loss": curve, "val/loss": curve, "lr": curve, "val/validity": Curve([1], [1])}
    )
    assert list(drawn) == ["loss", "tanimoto@1", "lr"]  # a single point is no curve
    assert "lr" not in panels({"train/loss": curve, "lr": Curve([1, 2], [0.1, 0.1])})  # a constant rate
    assert list(drawn["loss"]) == ["train", "val"]


def test_smoothing_keeps_length_and_mean():
    curve = Curve(list(range(400)), [float(i % 2) for i in range(400)])
    smooth = curve.smoothed()
    assert len(smooth.values) == 400
    assert max(smooth.values[20:-20]) - min(smooth.values[20:-20]) < 0.2
    assert Curve([1, 2], [0.0, 1.0]).smoothed() == Curve([1, 2], [0.0, 1.0])


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.csv: cannot be read"):
        read_curves(tmp_path / "metrics.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column 'step'"):
        read_curves(tmp_path / "other.csv")


def test_a_curve_is_thinned_evenly_with_its_ends():
    curve = Curve(list(range(101)), [float(step) for step in range(101)])
    thin = curve.thinned(11)
    assert thin.steps == list(range(0, 101, 10)) and thin.values[-1] == 100
    assert curve.thinned(500) is curve


def test_a_schedule_that_is_the_same_line_in_all_runs_is_recognised():
    falling, warmup = Curve([10, 20, 40], [4e-3, 3e-3, 1e-3]), Curve([10, 20, 40], [1e-3, 4e-3, 1e-3])
    assert one_straight_line([falling, Curve([10, 20, 40], [4e-3, 3e-3, 1e-3])])
    assert not one_straight_line([falling, falling.scaled(2)]) and not one_straight_line([warmup, warmup])
