"""Run folders: their content, and how a run is resumed in its folder."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from trimer.cli import configs, resolvers
from trimer.errors import ConfigError, InputError
from trimer.reproduction.code import code_version
from trimer.resuming import key_of, resume
from trimer.run import RunFolder, finite, first_process


def only_run(folder: Path) -> Path:
    (found,) = folder.glob("runs/*/*")
    return found


def test_a_run_folder_records_config_code_and_environment(trimer, empty_folder):
    assert trimer("train", "seed=3", "optimizer.lr=0.5", "+data.extra=1") == 0
    run = RunFolder(only_run(empty_folder))
    cfg = OmegaConf.load(run.path / "config.yaml")
    assert (cfg.seed, cfg.optimizer.lr, cfg.data.extra) == (3, 0.5, 1)
    assert "${" not in (run.path / "config.yaml").read_text()
    assert list(OmegaConf.load(run.path / "overrides.yaml")) == ["seed=3", "optimizer.lr=0.5", "+data.extra=1"]
    record = run.record
    assert record["command"] == "train"
    assert record["argv"] == ["trimer", "train", "seed=3", "optimizer.lr=0.5", "+data.extra=1"]
    assert record["seeds"] == {"seed": 3, "keys": ["data.seed", "task.generator.seed"]}
    assert {"torch", "lightning", "hydra-core"} <= set(record["packages"])
    assert {"cpu", "cores", "cpu_gflops"} <= set(record["device"])
    assert record["precision"] == cfg.trainer.precision in ("32-true", "bf16-mixed")
    assert record["started"].endswith("+00:00")
    assert run.result["status"] == "ok"
    assert run.result["objective"] == 6.0


def test_no_host_or_user_name_is_recorded(trimer, empty_folder):
    import getpass
    import platform

    trimer("train")
    text = (only_run(empty_folder) / "run.json").read_text()
    assert platform.node() not in text
    if getpass.getuser() != "root":
        assert getpass.getuser() not in text


def interrupted(folder: Path) -> Path:
    """The only run, changed into one that was stopped after its first checkpoint."""
    path = only_run(folder)
    (path / "checkpoints").mkdir(exist_ok=True)
    (path / "checkpoints" / "last.ckpt").touch()
    (path / "result.json").unlink()
    RunFolder._started_here.clear()  # what follows is another process
    return path


def test_a_resumption_is_appended_to_the_record(trimer, empty_folder):
    trimer("train", "seed=3", "optimizer=muon", "optimizer.lr=0.5", "tags=[a,b]")
    path = interrupted(empty_folder)
    kept = {name: (path / name).read_text() for name in ("config.yaml", "overrides.yaml")}
    first = RunFolder(path).record
    changes = ["trainer.max_steps=9", "logger=null", "scheduler.total_steps=8"]
    assert trimer("train", f"resume={path.relative_to(empty_folder)}", *changes) == 0
    assert only_run(empty_folder) == path
    assert kept == {name: (path / name).read_text() for name in kept}
    record = RunFolder(path).record
    assert {key: record[key] for key in first} == first
    (entry,) = record["resumed"]
    assert entry["changes"]["trainer.max_steps"] == {"from": 5000, "to": 9}
    assert entry["changes"]["logger.csv._target_"] == {"from": "trimer.loggers.CSV"}
    config = RunFolder(path).config
    assert (config["seed"], config["trainer"]["max_steps"], config["scheduler"]["total_steps"]) == (3, 9, 8)
    assert config["logger"] is None and config["optimizer"]["_target_"].endswith("Muon")
    # A second resumption keeps the changes of the first.
    assert trimer("train", f"resume={path}") == 0
    assert RunFolder(path).config["trainer"]["max_steps"] == 9
    assert [entry["changes"] for entry in RunFolder(path).record["resumed"]][1] == {}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("optimizer.lr=0.25", r"optimizer.lr (0.5, now 0.25)"),
        ("seed=4", r"seed (3, now 4), data.seed (3, now 4), task.generator.seed (3, now 4)"),
        ("+data.extra=1", "data.extra (not set, now 1)"),
        ("~callbacks.random_state", "callbacks.random_state._target_ (trimer.callbacks.random_state.RandomState, now"),
        ("trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches (1, now 2)"),
        ("scheduler=warmup_linear", "scheduler._target_ (trimer.optim.warmup_cosine, now trimer.optim.warmup_linear)"),
    ],
)
def test_settings_that_must_not_change_are_rejected_by_name(trimer, empty_folder, capsys, word, sentence):
    trimer("train", "seed=3", "optimizer.lr=0.5")
    path = interrupted(empty_folder)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    capsys.readouterr()
    assert trimer("train", f"resume={path}", word, "trainer.max_steps=9") == 1
    said = capsys.readouterr().err
    assert sentence in said and "may change length, devices, logging, paths" in said
    assert before == {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_an_edited_config_is_rejected_by_name(trimer, empty_folder, capsys):
    (empty_folder / "conf" / "experiment").mkdir(parents=True)
    experiment = empty_folder / "conf" / "experiment" / "own.yaml"
    experiment.write_text("# @package _global_\nname: own\noptimizer: {lr: 0.5}\n")
    assert trimer("train", "experiment=own") == 0
    path = interrupted(empty_folder)
    experiment.write_text("# @package _global_\nname: own\noptimizer: {lr: 0.4}\n")
    assert trimer("train", f"resume={path}") == 1
    assert "optimizer.lr (0.5, now 0.4)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [("trainer=ddp", "trainer.strategy=ddp"), ("trainer=cpu", "trainer=ddp"), ("trainer=ddp", "trainer=fsdp2"),
     ("trainer=fsdp2", "trainer=ddp"), ("trainer=ddp", "trainer=cpu")],
)  # fmt: skip
def test_the_strategy_may_change_on_resumption(trimer, empty_folder, before, after):
    trimer("train", before)
    path = interrupted(empty_folder)
    assert trimer("train", f"resume={path}", after) == 0
    changes = RunFolder(path).record["resumed"][0]["changes"]
    assert any(name.startswith("trainer.strategy") for name in changes), changes
    path = interrupted(empty_folder)
    assert trimer("train", f"resume={path}") == 0
    assert RunFolder(path).record["resumed"][1]["changes"] == {}


def test_activation_checkpointing_may_change_on_resumption(trimer, empty_folder):
    trimer("train", "model=esm2_8m")
    path = interrupted(empty_folder)
    assert trimer("train", f"resume={path}", "model.checkpointing=auto") == 0
    changes = RunFolder(path).record["resumed"][0]["changes"]
    assert changes == {"model.checkpointing": {"from": False, "to": "auto"}}


def test_devices_paths_and_derived_values_may_change(trimer, empty_folder, monkeypatch):
    trimer("train")
    path = interrupted(empty_folder)
    moved = path.with_name("moved")
    path.rename(moved)
    monkeypatch.setenv("TRIMER_CACHE", str(empty_folder / "other"))
    assert trimer("train", f"resume={moved}", "trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=3") == 0
    changes = RunFolder(moved).record["resumed"][0]["changes"]
    assert {"trainer.strategy", "trainer.devices", "paths.run", "callbacks.last.dirpath", "data.cache"} <= set(changes)


def test_a_key_added_by_a_later_version_is_not_a_change(trimer, empty_folder):
    trimer("train")
    path = interrupted(empty_folder)
    config = OmegaConf.load(path / "config.yaml")
    del config.trainer["deterministic"]
    OmegaConf.save(config, path / "config.yaml")
    assert trimer("train", f"resume={path}") == 1
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**record, "trimer": "0.0.1"}))
    assert trimer("train", f"resume={path}") == 0


def test_the_diff_of_a_resumption_is_kept_separately(trimer, empty_folder, monkeypatch):
    names = []
    monkeypatch.setattr("trimer.run.code_version", lambda folder, name="git.diff": names.append(name) or {})
    trimer("train")
    path = interrupted(empty_folder)
    for _ in range(2):
        trimer("train", f"resume={path}")
    assert names == ["git.diff", "git.1.diff", "git.2.diff"]


def test_the_folder_of_another_command_is_rejected(tmp_path):
    run = RunFolder(tmp_path).start(OmegaConf.create({"seed": 1}), [])
    with pytest.raises(ConfigError, match="is the folder of trimer train: use another"):
        run.start(OmegaConf.create({"seed": 1}), [], command="evaluate")
    run.unlock()


def test_resuming_keeps_the_config_folders(trimer, empty_folder):
    (empty_folder / "mine" / "experiment").mkdir(parents=True)
    (empty_folder / "mine" / "experiment" / "own.yaml").write_text("# @package _global_\nname: own\nseed: 7\n")
    assert trimer("train", "experiment=own", "--config-dir", "mine") == 0
    path = interrupted(empty_folder)
    assert trimer("train", f"resume={path}") == 0
    assert RunFolder(path).config["seed"] == 7


def test_resuming_an_unusable_folder_states_the_reason(trimer, empty_folder, capsys):
    trimer("train", "name=study")
    path = only_run(empty_folder)
    (empty_folder / "other").mkdir()
    (empty_folder / "evaluation").mkdir()
    (empty_folder / "evaluation" / "run.json").write_text('{"command": "evaluate"}')
    (empty_folder / "evaluation" / "overrides.yaml").write_text("[]")
    capsys.readouterr()
    for folder, sentence in {
        "nowhere": "there is no such folder",
        "other": "is not a run folder",
        "runs/study": f"the newest run in it is resume={path.relative_to(empty_folder)}",
        "evaluation": "only a training run can be resumed",
    }.items():
        assert trimer("train", f"resume={folder}") == 1
        assert sentence in capsys.readouterr().err


def test_new_overrides_replace_stored_overrides(tmp_path):
    run = RunFolder(tmp_path / 'a "b" run')
    run.start(OmegaConf.create({"seed": 1}), ["model=bart_nano", "+data.x=1", "~callbacks.best", "lr=1"])
    overrides, _ = resume(str(run.path), ["model=bart_small", "++data.x=2", "resume=ignored"])
    assert overrides[:4] == ["~callbacks.best", "lr=1", "model=bart_small", "++data.x=2"]
    assert overrides[4] == f'resume="{tmp_path}/a \\"b\\" run"'
    assert key_of("++data.x=2") == "data.x"


def test_stored_overrides_of_an_earlier_version_get_present_names(tmp_path):
    run = RunFolder(tmp_path / "run")
    former = "data.source._target_=trimer.data.sources.foodb.FooDB"
    run.start(OmegaConf.create({"seed": 1}), [former, "name=trimer.data.sources.foodb.FooDB"])
    run.unlock()
    overrides, _ = resume(str(run.path), [])
    present = "data.source._target_=trimer.data.labelled.foodb.FooDB"
    assert overrides[:2] == [present, "name=trimer.data.sources.foodb.FooDB"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"NODE_RANK": "0"}, True),
        ({"NODE_RANK": "1"}, False),  # the second host, started by hand
        ({"NODE_RANK": "0", "LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
    ids=str,
)
def test_the_first_process_is_that_of_the_first_host(monkeypatch, variables, expected):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert first_process() is expected


@pytest.mark.parametrize("rank", ["LOCAL_RANK", "NODE_RANK"])
def test_only_the_first_process_writes(tmp_path, monkeypatch, rank):
    monkeypatch.setenv(rank, "1")
    run = RunFolder(tmp_path / "run").start(OmegaConf.create({"seed": 1}), [])
    run.finish({})
    assert not run.path.exists()


def test_results_are_valid_json(tmp_path):
    run = RunFolder(tmp_path).start(OmegaConf.create({"seed": 1}), [])
    run.finish({"loss": math.nan, "top1": np.float32(0.5), "counts": np.arange(3), "path": Path("x")})
    result = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["loss"] is None
    assert (result["top1"], result["counts"], result["path"]) == (0.5, [0, 1, 2], "x")
    assert finite({"a": [math.inf, (1, 2)]}) == {"a": [None, [1, 2]]}


def test_the_last_checkpoint_is_found(tmp_path):
    run = RunFolder(tmp_path)
    assert run.last_checkpoint() is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    assert run.last_checkpoint() is None  # weights only
    (tmp_path / "checkpoints" / "step.ckpt").touch()
    assert run.last_checkpoint().name == "step.ckpt"
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert run.last_checkpoint().name == "last.ckpt"


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is not JSON"):
        _ = RunFolder(tmp_path).record


def test_git_version_and_diff_are_recorded(tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (checkout / "run.py").write_text("a = 1\n")
    subprocess.run([*git, "add", "run.py"], check=True)
    monkeypatch.setattr("trimer.reproduction.code.PACKAGE", checkout)
    version = code_version(tmp_path)["git"]
    assert len(version["sha"]) == 40
    assert version["dirty"] is True
    assert "+a = 1" in (tmp_path / "git.diff").read_text()
    monkeypatch.setattr("trimer.reproduction.code.PACKAGE", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert code_version(tmp_path) == {"git": None}


def test_the_id_of_a_run_comes_from_its_folder_or_record(tmp_path):
    run = tmp_path / "study" / "2025-01-01_00-00-00-abcdef"
    assert resolvers.run_id(str(run)) == "study-2025-01-01_00-00-00-abcdef"
    assert resolvers.run_id(str(run / "3")).endswith("abcdef-3")
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"id": "kept"}')
    assert resolvers.run_id(str(run)) == "kept"


def test_the_tracker_gets_the_stored_id(tmp_path):
    (tmp_path / "run.json").write_text('{"id": "kept"}')
    cfg = configs.compose("train", ["logger=wandb", f"paths.run={tmp_path}"])
    assert (cfg.logger.wandb.id, cfg.logger.wandb.resume) == ("kept", "allow")
