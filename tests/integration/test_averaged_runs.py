"""Weights of runs from one checkpoint are averaged to a run folder that every command takes (experiments/spectrums)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from spectrums import average_runs

import trimer
from trimer.checkpoint import read
from trimer.cli.main import main
from trimer.errors import CheckpointError, ConfigError
from trimer.run import model_name

pytestmark = pytest.mark.slow

WORDS = ["data=simulated_peptides", "task=regression", "model=peptides_nano", "data.source.count=200",
         "trainer.max_steps=2", "trainer.val_check_interval=2", "test=false", "baselines=false"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run, two runs from it with different seeds, and one from nothing."""
    folder = tmp_path_factory.mktemp("runs")
    stages = {"before": [], "a": ["ckpt={before}"], "b": ["ckpt={before}", "optimizer.lr=1e-2"], "other": ["seed=1"]}
    paths = {name: folder / name for name in stages}
    with pytest.MonkeyPatch.context() as patch:
        for name, words in stages.items():
            words = [word.format(**paths) for word in words]
            argv = [
                "trimer",
                "train",
                *WORDS,
                f"paths.cache={folder / 'cache'}",
                f"hydra.run.dir={paths[name]}",
                *words,
            ]
            patch.setattr(sys, "argv", argv)
            assert main() == 0
    return paths


def test_the_mean_is_a_run_that_predicts(runs, tmp_path):
    path = average_runs.average([runs["a"], runs["b"]], tmp_path / "mean")
    mean, a, b = (read(run)["state_dict"] for run in (tmp_path / "mean", runs["a"], runs["b"]))
    moved = [name for name in a if not torch.equal(a[name], b[name])]
    assert moved
    for name in a:
        torch.testing.assert_close(mean[name], ((a[name].double() + b[name].double()) / 2).to(a[name].dtype))
    assert not average_runs.LEFT_OUT & read(path).keys()
    assert model_name(tmp_path / "mean", path).endswith("mean of 2 runs, seed 0")
    rows = trimer.load(tmp_path / "mean").predict(["PEPTIDEK"]).rows
    assert rows[0]["reason"] is None


def test_runs_that_did_not_begin_together_are_rejected(runs, tmp_path):
    with pytest.raises(ConfigError, match="other did not begin with the checkpoint of"):
        average_runs.average([runs["a"], runs["other"]], tmp_path / "mean")
    with pytest.raises(ConfigError, match="two or more"):
        average_runs.average([runs["a"]], tmp_path / "mean")
    with pytest.raises(ConfigError, match="exists"):
        average_runs.average([runs["a"], runs["b"]], tmp_path)


def test_networks_of_other_shapes_and_numbers_have_no_mean():
    state = {"x": torch.ones(2), "n": torch.tensor(1)}
    assert average_runs.mean_weights([state, {"x": torch.zeros(2), "n": torch.tensor(1)}])["x"].tolist() == [0.5, 0.5]
    with pytest.raises(CheckpointError, match="different networks"):
        average_runs.mean_weights([state, {"x": torch.ones(3), "n": torch.tensor(1)}])
    with pytest.raises(CheckpointError, match="different networks"):
        average_runs.mean_weights([state, state | {"y": torch.ones(1)}])
    with pytest.raises(CheckpointError, match="differ in n"):
        average_runs.mean_weights([state, {"x": torch.ones(2), "n": torch.tensor(2)}])
