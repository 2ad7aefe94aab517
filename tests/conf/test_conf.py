"""Every YAML file composes, has a description, and names only targets that can be built."""

from __future__ import annotations

import re

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf

from trimer.accelerators.sharded_checkpoints import AsyncShardsStrategy
from trimer.building import build, check, plain
from trimer.cli.configs import choices, compose, dotted_keys, shadowed, shipped_folder, user_folders
from trimer.cli.schema import SCHEMAS
from trimer.errors import ConfigError

PARTS = ["data", "model", "task", "optimizer", "scheduler", "trainer", "callbacks", "logger"]
FILES = sorted(shipped_folder().rglob("*.yaml"))
CHOICES = [
    (command, f"{group}={option}")
    for command in SCHEMAS
    for group, options in choices(command).items()
    for option in options
]


@pytest.mark.parametrize(("command", "choice"), CHOICES, ids=lambda value: value)
def test_every_choice_composes_and_can_be_built(command, choice):
    cfg = compose(command, [choice])
    for key in OmegaConf.missing_keys(cfg):  # required from the user
        OmegaConf.update(cfg, key, "given")
    named = choice.partition("=")[0]
    for group in [named] if named in PARTS else PARTS:
        if cfg.get(group) is not None:
            tree, key = plain(cfg[group])
            # Commands add values that no config can hold: vocabulary size, network, tokenizer.
            check(tree, key, dict.fromkeys({"model": ["vocab_size"], "task": ["net", "tokenizer"]}.get(group, [])))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(shipped_folder())))
def test_every_config_file_has_a_readable_description(path):
    lines = path.read_text().splitlines()
    comments = [line for line in lines[:2] if line.startswith("# ") and not line.startswith("# @package")]
    assert comments, "the first line says what you get"
    assert len(comments[0]) <= 140
    assert all(len(line) <= 140 for line in lines)
    assert not any(line.lstrip("# ").startswith(("- ", "_target_")) for line in lines if line.startswith("#"))
    assert "!!python" not in path.read_text()


@pytest.mark.parametrize("choice", choices("train")["model"])
def test_every_model_has_the_parameter_count_of_its_description(choice):
    """Built on the meta device, so that three billion weights cost nothing."""
    cfg = compose("train", [f"model={choice}"])
    with torch.device("meta"):
        net = build(cfg.model, vocab_size=33)
    weights = sum(parameter.numel() for parameter in net.parameters())
    text = (shipped_folder() / f"model/{choice}.yaml").read_text()
    stated = re.search(r"([\d.]+) (million|billion) weights", text)
    assert stated, "the first line says how many weights"
    number = float(stated[1]) * {"million": 1e6, "billion": 1e9}[stated[2]]
    assert weights == pytest.approx(number, rel=0.1)


def test_commands_have_the_expected_keys():
    """The keys of the commands: a new key is a decision."""
    surface = {command: sorted(str(key) for key in compose(command)) for command in SCHEMAS}
    run = ["name", "seed", "tags", "resume", "ckpt", "test", "baselines", "calibration_spectra", "objective", "n_jobs"]
    run += ["from_run", "augment", "boosting", "shards", "shard"]
    assert surface["train"] == sorted([*PARTS, "paths", "text", *run])
    assert set(surface["evaluate"]) >= {"ckpt", "split", "baselines", "data", "trainer", "name", "paths", "seed"}
    assert set(surface["predict"]) >= {"ckpt", "input", "output", "trainer", "name", "paths", "seed"}
    assert set(surface["serve"]) >= {"ckpt", "host", "port", "limits", "jobs", "trainer", "name", "paths"}
    assert surface["prepare"] == surface["train"]
    assert set(surface["models"]) == {"name", "pull", "revision", "output", "paths", "text"}
    assert set(surface["pack"]) >= {"ckpt", "output", "results", "weights"}
    keys = {"ckpt", "output", "format", "weights", "packed", "push", "private", "name", "paths", "text"}
    assert set(surface["export"]) == keys
    assert set(surface["reproduce"]) == {"run", "output", "tolerance", "force", "changes", "name", "paths", "text"}
    assert set(surface["diff"]) == {"run", "other", "all", "weights", "output", "name", "paths", "text"}
    assert set(surface["init"]) == {"folder", "name", "paths", "text"}
    assert set(surface["demo"]) >= {"ckpt", "output", "spectra", "steps", "seed", "generator", "trainer"}
    assert set(surface["report"]) >= {"input", "output", "name", "paths"}


def test_paths_follow_the_environment(monkeypatch, empty_folder):
    monkeypatch.setenv("TRIMER_CACHE", "/a/cache")
    monkeypatch.setenv("TRIMER_DATA", "/a/data")
    cfg = compose("train", ["name=study"])
    assert (cfg.paths.cache, cfg.paths.data) == ("/a/cache", "/a/data")
    assert cfg.paths.run.startswith(str(empty_folder / "runs" / "study"))
    monkeypatch.delenv("TRIMER_DATA")
    assert compose("train").paths.data == "data"


def test_trainer_configs_have_the_expected_settings(empty_folder):
    for trainer, expected in {
        "cpu": ("cpu", "auto"),
        "gpu": ("gpu", "auto"),
        "epochs": ("cpu", "auto"),
        "gpu_epochs": ("gpu", "auto"),
        "gpu_static": ("gpu", "auto"),
        "tpu": ("tpu", "auto"),
        "xla_cpu": ("xla_cpu", "auto"),
    }.items():
        cfg = compose("train", [f"trainer={trainer}"]).trainer
        assert (cfg.accelerator, cfg.strategy) == expected
        assert cfg.gradient_clip_val == 1.0
        assert cfg.use_distributed_sampler is False
    assert compose("train").trainer.precision in ("bf16-mixed", "32-true")
    assert compose("train", ["trainer=fsdp2"]).trainer.strategy._target_.endswith("ShardedModelStrategy")
    shards = build(compose("train", ["trainer=fsdp2_async"]).trainer.strategy)
    assert type(shards) is AsyncShardsStrategy and shards._save_distributed_checkpoint


@pytest.mark.parametrize("trainer", ["gpu", "ddp", "fsdp2"])
def test_a_strategy_can_be_set_with_every_trainer(trainer):
    assert compose("train", [f"trainer={trainer}", "trainer.strategy=ddp"]).trainer.strategy == "ddp"


def test_ddp_holds_gradients_as_bucket_views():
    strategy = build(compose("train", ["trainer=ddp"]).trainer.strategy)
    assert type(strategy) is DDPStrategy
    assert strategy._ddp_kwargs["gradient_as_bucket_view"] is True


def test_gpu_recipes_compile_the_model():
    recipes = {name: compose("train", [f"experiment={name}"]) for name in choices("train")["experiment"]}
    of_gpus = {name for name, cfg in recipes.items() if cfg.trainer.accelerator == "gpu"}
    assert {"cramming/cramming", "cramming/esm2_paper", "cramming/gpu_day"} <= of_gpus
    assert {name for name in of_gpus if not recipes[name].task.compile} == set()


@pytest.mark.parametrize("trainer", ["epochs", "gpu_epochs"])
def test_training_length_can_be_set_in_epochs(trainer):
    cfg = compose("train", [f"trainer={trainer}", "scheduler=warmup_plateau", "trainer.max_epochs=7"]).trainer
    assert (cfg.max_epochs, cfg.max_steps, cfg.check_val_every_n_epoch, cfg.val_check_interval) == (7, -1, 1, None)
    assert compose("train", [f"trainer={trainer}"]).trainer.max_epochs == 50


def test_schedules_have_the_length_of_the_run():
    cfg = compose("train", ["trainer.max_steps=77"])
    assert cfg.scheduler.total_steps == 77


@pytest.mark.parametrize("logger", ["csv", "wandb", "wandb_offline", "tensorboard", "many", "mlflow", "trackio"])
def test_the_csv_logger_is_always_present(logger):
    assert "csv" in compose("train", [f"logger={logger}"]).logger


def own_folder(folder):
    (folder / "experiment").mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "experiment" / "own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: wide\nname: own\ntrainer: {max_steps: 5}\n"
    )
    (folder / "model" / "wide.yaml").write_text("defaults:\n  - bart_nano\nd_model: 256\n")
    return folder


@pytest.mark.parametrize("way", ["working directory", "environment", "flag"])
def test_the_users_config_folder_is_found(empty_folder, tmp_path, monkeypatch, way):
    folders = []
    if way == "working directory":
        own_folder(empty_folder / "conf")
    elif way == "environment":
        monkeypatch.setenv("TRIMER_CONF", str(own_folder(tmp_path / "mine")))
    else:
        folders = [own_folder(tmp_path / "mine")]
    cfg = compose("train", ["experiment=own"], folders)
    assert (cfg.name, cfg.model.d_model, cfg.trainer.max_steps) == ("own", 256, 5)
    assert cfg.model._target_ == "trimer.models.bart.Bart"  # inherited from the shipped file
    assert "own" in choices("train", folders)["experiment"]


def test_a_users_file_cannot_replace_a_shipped_file(empty_folder):
    (empty_folder / "conf" / "optimizer").mkdir(parents=True)
    (empty_folder / "conf" / "optimizer" / "adamw.yaml").write_text("lr: 123\n")
    assert compose("train").optimizer.lr != 123
    assert shadowed() == [empty_folder / "conf" / "optimizer" / "adamw.yaml"]


def test_the_config_folder_of_the_checkout_is_not_added_twice(monkeypatch):
    monkeypatch.chdir(shipped_folder().parent)
    monkeypatch.delenv("TRIMER_CONF", raising=False)
    assert user_folders() == []
    assert shadowed() == []


def test_a_missing_config_folder_is_named(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        compose("train", config_dirs=[tmp_path / "none"])
    monkeypatch.setenv("TRIMER_CONF", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="TRIMER_CONF names"):
        compose("train")


def test_dotted_keys_are_listed():
    cfg = OmegaConf.create({"a": {"_target_": "x", "b": {"c": 1}}, "d": "${a}", "e": None, "f": "???"})
    assert list(dotted_keys(cfg)) == ["a", "a.b", "a.b.c", "d", "e", "f"]
