"""W&B sweeps: the file that is written, and a run as W&B's agent starts it."""

from __future__ import annotations

import json

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

SPACE = ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "seed=choice(1,2)", "optimizer.betas=choice([0.9,0.95])"]


def test_an_agent_runs_the_command_of_the_file(trimer, shell, empty_folder, capsys):
    assert trimer("train", "hparams_search=wandb", "name=study", "optimizer.weight_decay=0.01", *SPACE) == 0
    assert "next: wandb sweep wandb_sweep.yaml" in capsys.readouterr().out
    assert not (empty_folder / "runs").exists()
    content = yaml.safe_load((empty_folder / "wandb_sweep.yaml").read_text())
    assert content["method"] == "bayes"
    assert content["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert content["parameters"] == {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "seed": {"values": [1, 2]},
        "optimizer.betas": {"values": ["[0.9,0.95]"]},
    }
    # What W&B's agent does with the file, by its own functions.
    chosen = {"optimizer.lr": 0.0003, "seed": 2, "optimizer.betas": "[0.9,0.95]"}
    macros = create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    macros |= {"env": ["/usr/bin/env"], "program": [content["program"]]}
    command = create_sweep_command(content["command"])
    words = [part for word in command for part in (macros[word[2:-1]] if word.startswith("${") else [word])]
    assert words[:3] == ["/usr/bin/env", "trimer", "train"]
    assert {"name=study", "logger=wandb", "objective=val/loss", "test=false"} <= set(words)
    done = shell("toy", *words[2:], WANDB_SWEEP_ID="abc", WANDB_RUN_ID="agent-7")
    assert done.returncode == 0, done.stderr
    (run,) = empty_folder.glob("runs/study/*/run.json")
    assert json.loads(run.read_text())["id"] == "agent-7"
    assert json.loads((run.parent / "result.json").read_text())["metrics"] == {"lr": 0.0003}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["hydra.sweeper.method=grid"], "method=grid needs values, such as optimizer.lr=1,2,3"),
        (["logger=csv"], "logger=csv: a W&B sweep needs logger=wandb or logger=many"),
        (["objective=null"], "a search needs objective=<metric>"),
        (["optimizer.lrr=1,2"], "did you mean optimizer.lr?"),
    ],
)
def test_mistakes_are_reported_before_the_file_is_written(trimer, empty_folder, capsys, words, sentence):
    assert trimer("train", "hparams_search=wandb", *words) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert not (empty_folder / "wandb_sweep.yaml").exists()
