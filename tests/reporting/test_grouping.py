"""Runs are averaged only if their resolved configs differ only in the seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from trimer.reporting.runs import read_runs, summarise


def run(folder: Path, seed: int, loss: float, rate: float = 1e-3, split: str = "a", **record) -> None:
    """A run folder with one override, the seed; the learning rate comes from a file edited between runs."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"command": "train", "seeds": {"seed": seed}, **record}))
    (folder / "overrides.yaml").write_text(f"- seed={seed}\n- experiment=mine\n")
    config = {"objective": "val/loss", "seed": seed, "optimizer": {"lr": rate}, "paths": {"run": str(folder)}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "split.json").write_text(json.dumps({"sha256": split}))
    (folder / "result.json").write_text(json.dumps({"status": "ok", "metrics": {"val/loss": loss}}))


def test_an_edited_experiment_file_gives_two_groups(tmp_path):
    for seed in range(2):
        run(tmp_path / f"before-{seed}", seed, 1.0 + seed)
        run(tmp_path / f"after-{seed}", seed, 5.0 + seed, rate=1e-4)
    summary = summarise(read_runs(tmp_path))
    assert summary.varied == ["optimizer.lr"]
    means = {group.settings["optimizer.lr"]: group.metrics["val/loss"] for group in summary.groups}
    assert {rate: (mean, count) for rate, (mean, _, count) in means.items()} == {"0.001": (1.5, 2), "0.0001": (5.5, 2)}
    assert [group.seeds for group in summary.groups] == ["2/2", "2/2"]


def test_a_repeated_seed_is_counted_once_and_reported(tmp_path):
    for name, seed, loss in (("one", 0, 1.0), ("two", 0, 3.0), ("three", 1, 4.0)):
        run(tmp_path / name, seed, loss)
    summary = summarise(read_runs(tmp_path))
    (group,) = summary.groups
    assert group.seeds == "2/2" and group.metrics["val/loss"] == pytest.approx((3.0, 2**0.5, 2))
    assert summary.notes == ["one, two: same settings and seed 0, counted as one seed"]


def test_runs_with_different_splits_are_not_averaged(tmp_path):
    run(tmp_path / "one", 0, 1.0)
    run(tmp_path / "two", 1, 3.0, split="b")
    summary = summarise(read_runs(tmp_path))
    (group,) = summary.groups
    assert group.metrics == {}
    assert summary.errors == [
        "one and two have the same settings but split their data differently, so they have no mean"
    ]
    assert summary.errors[0] in summary.to_markdown()


def test_runs_on_different_data_are_not_averaged(tmp_path):
    run(tmp_path / "one", 0, 1.0, data="store-1")
    run(tmp_path / "two", 1, 3.0, data="store-2")
    (group,) = summarise(read_runs(tmp_path)).groups
    assert group.metrics == {} and "were trained on different data" in group.error
