"""TensorBoard files hold sections of metrics and no empty `hp_metric`."""

from __future__ import annotations

import pytest

from trimer.loggers import open_loggers
from trimer.trackers.tensorboard_run import TensorBoardRun


def test_event_files_have_no_straight_lines_and_no_hp_metric(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with open_loggers([TensorBoardRun(str(tmp_path))], {"seed": 1}) as on:
        on[0].log_metrics({"train/loss": 0.5, "lr": 1e-3, "epoch": 0, "real_tokens": 9}, 3)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["optimizer/lr", "train/loss"]
    assert [event.step for event in events.Scalars("train/loss")] == [3]
