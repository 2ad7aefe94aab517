"""Names, groups and tags of a run in a tracker."""

from __future__ import annotations

import json

import pytest

from trimer.trackers.descriptions import NAMED, panel_name, run_name, sweep_of, tags_of


@pytest.mark.parametrize(
    ("metric", "panel"),
    [
        ("lr", "optimizer/lr"),
        ("tokens_per_second", "speed/tokens_per_second"),
        ("val/loss", "val/loss"),
        ("epoch", None),
        ("real_tokens", None),
        ("val/labels_seen", None),
        ("val/logS/labels_seen", None),
        ("test/masked_tokens", None),
    ],
)
def test_each_metric_has_a_section_and_straight_lines_have_no_panel(metric, panel):
    assert panel_name(metric) == panel


def test_a_name_holds_what_differs():
    words = ["experiment=demo", "optimizer.lr=1e-3", "+model.layers=2", "seed=1", "trainer.max_steps=9", "logger=wandb"]
    assert run_name("demo", words, "runs/demo/x") == "demo lr=1e-3 layers=2 seed=1"
    assert run_name("demo", ["experiment=demo"], "runs/demo/2026-a3f") == "demo 2026-a3f"
    assert (
        run_name("demo", ["data.source.paths=/home/me/a.csv", "ckpt=runs/pre/best.ckpt"], "x") == "demo ckpt=best.ckpt"
    )
    assert len(run_name("demo", [f"key{i}=1" for i in range(99)], "x")) == NAMED


def test_the_name_of_a_job_begins_with_what_its_sweep_varies(tmp_path):
    words = ["experiment=demo", "data.split.seed=3", "trainer.max_steps=9", "optimizer.lr=0.1", "seed=3"]
    (tmp_path / "job.json").write_text(json.dumps({"overrides": words, "varied": words[2:]}))
    assert run_name("demo", words, tmp_path) == "demo max_steps=9 lr=0.1 seed=3 split.seed=3"


def test_the_group_of_a_job_is_its_sweep(tmp_path):
    job = tmp_path / "multirun-1" / "job-a"
    job.mkdir(parents=True)
    assert sweep_of(job) is None
    (job / "job.json").write_text("{}")
    assert sweep_of(job) == "multirun-1" and sweep_of(tmp_path / "multirun-2" / "7") == "multirun-2"


def test_tags_are_those_of_the_user_and_the_choices():
    choices = {"experiment": "foodb/terms", "model": "smiles_small", "trainer": "cpu", "data": None}
    assert tags_of(["mine", "smiles_small"], choices) == ["mine", "smiles_small", "foodb/terms"]
