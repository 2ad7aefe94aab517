"""`trimer train from=<run folder>`: a new run with the config of another, with changed values and groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trimer.cli import completion
from trimer.cli.configs import compose
from trimer.resuming import differences
from trimer.run import RunFolder


@pytest.fixture
def first(trimer, empty_folder) -> Path:
    """A run of a study, whose config files have changed since."""
    study = empty_folder / "conf" / "experiment" / "own.yaml"
    study.parent.mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /model: esm2_nano\n  - override /data: simulated_proteins\n"
    study.write_text(f"{text}  - override /task: masked_lm\nname: own\noptimizer: {{lr: 0.5}}\n")
    words = ["seed=3", "trainer.max_steps=70", "+data.extra=1", "logger=wandb_offline", "paths.cache=here"]
    assert trimer("train", "experiment=own", *words, "hydra.run.dir=runs/first") == 0
    study.write_text(f"{text}name: changed\noptimizer: {{lr: 0.25}}\n")
    return Path("runs/first")


def config(folder: str) -> dict:
    return RunFolder(Path("runs") / folder).config


def test_a_run_starts_from_the_recorded_config_of_another(trimer, first):
    assert trimer("train", f"from={first}", "hydra.run.dir=runs/second") == 0
    one, two = config("first"), config("second")
    for key, change in differences(one, two).items():
        assert ("first" in change["from"], "second" in change["to"]) == (True, True), f"{key} names the folder"
    assert two["paths"]["cache"] == "here" and two["name"] == "own" and two["optimizer"]["lr"] == 0.5
    assert two["logger"]["wandb"]["id"] != one["logger"]["wandb"]["id"]
    assert "runs/first" not in json.dumps({key: value for key, value in two.items() if key != "from_run"})
    record = RunFolder(Path("runs/second")).record
    assert record["interpolations"]["data.seed"] == "${seed}" and record["id"] == "runs-second"


def test_values_that_depend_on_a_changed_value_follow_it(trimer, first):
    words = ["seed=9", "trainer.max_steps=40", "data.extra=2"]
    assert trimer("train", f"from={first}", *words, "hydra.run.dir=runs/second") == 0
    two = config("second")
    assert (two["data"]["seed"], two["scheduler"]["total_steps"], two["data"]["extra"]) == (9, 40, 2)
    # The third run starts from the second.
    assert trimer("train", "from=runs/second", "trainer.max_steps=30", "hydra.run.dir=runs/third") == 0
    three = config("third")
    assert (three["seed"], three["scheduler"]["total_steps"], three["optimizer"]["lr"]) == (9, 30, 0.5)


def test_groups_can_be_changed(trimer, first):
    words = ["optimizer=muon", "data/masking=cramming", "~scheduler", "debug=fast", "model.layers=1"]
    cfg = compose("train", [f"from={first}", *words])
    assert cfg.optimizer._target_.endswith("Muon") and cfg.model._target_ == "trimer.models.esm2.Esm2"
    assert cfg.model.layers == 1 and cfg.scheduler is None
    expected = compose("train", ["data=simulated_proteins", "data/masking=cramming"]).data
    assert cfg.data.masking == expected.masking
    assert (cfg.data.extra, cfg.seed) == (1, 3), "the rest of the group is that of the run"
    fast = compose("train", ["debug=fast"]).trainer
    assert cfg.trainer.fast_dev_run == fast.fast_dev_run


MISTAKES = {
    "from=runs/first resume=runs/first": "give one of them",
    "from=nowhere": "from=nowhere: there is no such folder",
    "from=runs": "from=runs is not a run folder: it has no run.json and config.yaml; the newest run in it is",
    "from=runs/evaluation": "from=runs/evaluation is the folder of trimer evaluate",
    "from=runs/first experiment=own": "experiment= chooses all groups, and from= takes them from a run",
    "from=runs/first data.exta=2": "unknown key 'data.exta' in 'data.exta=2'; did you mean data.extra?",
    "from=runs/first modle=esm2_nano": "did you mean model?",
    "from=runs/first model=none": "there is no model=none",
}


def test_mistakes_are_reported_in_a_sentence(trimer, first, capsys):
    Path("runs/evaluation").mkdir()
    Path("runs/evaluation/run.json").write_text('{"command": "evaluate"}')
    Path("runs/evaluation/config.yaml").write_text("{}")
    capsys.readouterr()
    for words, sentence in MISTAKES.items():
        assert trimer("train", *words.split()) in (1, 2)
        stderr = capsys.readouterr().err.strip()
        assert sentence in stderr and len(stderr.splitlines()) == 1


def test_a_run_that_started_from_another_is_resumed_without_it(trimer, first):
    assert trimer("train", f"from={first}", "optimizer=muon", "seed=4", "hydra.run.dir=runs/second") == 0
    for name in ("config.yaml", "overrides.yaml", "run.json"):
        (first / name).unlink()
    second = Path("runs/second")
    (second / "checkpoints").mkdir()
    (second / "checkpoints" / "last.ckpt").touch()
    RunFolder._started_here.clear()
    assert trimer("train", f"resume={second}", "trainer.max_steps=90") == 0
    two = config("second")
    assert (two["trainer"]["max_steps"], two["scheduler"]["total_steps"], two["seed"]) == (90, 90, 4)
    assert set(RunFolder(second).record["resumed"][0]["changes"]) == {"trainer.max_steps", "scheduler.total_steps"}


def test_each_job_of_a_sweep_starts_from_the_run(trimer, first):
    words = ["-m", f"from={first}", "seed=5,6", "hydra/launcher=basic", "hydra.sweep.dir=runs/sweep"]
    assert trimer("train", *words) == 0
    for job, seed in (("0", 5), ("1", 6)):
        cfg = OmegaConf.load(Path("runs/sweep") / job / "config.yaml")
        assert (cfg.seed, cfg.data.seed, cfg.optimizer.lr) == (seed, seed, 0.5)


def test_a_run_of_an_earlier_version_can_be_started_from(trimer, first):
    record = json.loads((first / "run.json").read_text())
    for key in ("interpolations", "choices", "files", "environment"):
        record.pop(key, None)
    (first / "run.json").write_text(json.dumps(record))
    cfg = compose("train", [f"from={first}", "seed=8", "paths.run=new"])
    assert (cfg.data.seed, cfg.optimizer.lr, cfg.scheduler.total_steps) == (8, 0.5, 70)
    assert cfg.callbacks.last.dirpath == "new/checkpoints"


def test_keys_of_the_run_are_completed(trimer, first):
    assert completion.candidates(f"trimer train from={first} data.ext") == ["data.extra="]
    assert completion.candidates("trimer train from=runs/fi") == ["from=runs/first/"]
    assert completion.candidates("trimer diff runs/fi") == ["runs/first/"]
    assert completion.candidates("trimer train fro") == ["from=", "from_run="]
