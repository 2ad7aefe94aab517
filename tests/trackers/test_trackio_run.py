"""A run in Trackio: what is sent to its library, with a stand-in where the package is missing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from trimer.errors import ConfigError
from trimer.loggers import open_loggers
from trimer.trackers import trackio_run
from trimer.trackers.trackio_run import TrackioRun


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(trackio_run, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'trimer\[trackio\]'"):
        TrackioRun(str(tmp_path), "trimer", "demo", None)


def test_metrics_are_sent_and_a_broken_service_does_not_end_the_training(tmp_path, monkeypatch, caplog):
    rows, ended = [], []

    def log(metrics: dict, step: int | None) -> None:
        if step == 2:
            raise ConnectionError("no space")
        rows.append((step, metrics))

    def init(**settings) -> SimpleNamespace:
        assert settings["project"] == "trimer" and settings["config"]["seed"] == 1 and settings["resume"] == "allow"
        return SimpleNamespace(log=log, finish=lambda: ended.append(True))

    monkeypatch.setattr(trackio_run, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    with open_loggers([TrackioRun(str(tmp_path), "trimer", "demo", None)], {"seed": 1}) as on:
        for step in (1, 2, 3):
            on[0].log_metrics({"val/loss": 0.5, "epoch": 1}, step)
    assert rows == [(1, {"val/loss": 0.5}), (3, {"val/loss": 0.5})] and ended == [True]
    assert "no space" in caplog.text
