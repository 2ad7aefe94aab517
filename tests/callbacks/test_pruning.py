"""Pruning: reports of validations, and the stop when the search asks for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trimer.callbacks.pruning import Pruning
from trimer.errors import ConfigError
from trimer.sweeps import pruning_files


def trainer(value: float) -> SimpleNamespace:
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_should_accumulate=lambda: False))
    return SimpleNamespace(
        state=SimpleNamespace(fn="fit"),
        sanity_checking=False,
        fast_dev_run=False,
        is_global_zero=True,
        callback_metrics={"val/loss": torch.tensor(value)},
        strategy=SimpleNamespace(broadcast=lambda flag: flag),
        fit_loop=loop,
        should_stop=False,
    )


def test_a_run_stops_when_the_search_says_so(tmp_path):
    pruning_files.expect_reports(tmp_path)
    callback = Pruning(tmp_path, "val/loss", wait=5)
    pruning_files.decide(tmp_path, 1, False)
    first = trainer(2.0)
    callback.on_validation_end(first, None)
    assert not first.should_stop
    pruning_files.decide(tmp_path, 2, True)
    resumed = Pruning(tmp_path, "val/loss", wait=5)
    resumed.load_state_dict(callback.state_dict())
    second = trainer(3.0)
    resumed.on_validation_end(second, None)
    assert second.should_stop and resumed.reason == "pruned"
    assert pruning_files.reports(tmp_path) == [(1, 2.0), (2, 3.0)]


def test_nothing_is_reported_outside_of_a_search(tmp_path):
    run = trainer(2.0)
    Pruning(tmp_path, "val/loss", wait=60).on_validation_end(run, None)
    assert not run.should_stop and not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"monitor=val/acc is not a metric; there are val/loss"):
        Pruning(tmp_path, "val/acc", wait=60).on_validation_end(run, None)
