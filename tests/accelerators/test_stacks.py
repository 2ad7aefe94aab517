"""Which TPU software is chosen, and the message for missing packages."""

import pytest
import torch
from omegaconf import OmegaConf

from trimer.accelerators import stacks
from trimer.accelerators.hardware import computing, device_of
from trimer.accelerators.stacks import TORCH_TPU, TORCH_XLA, check_device, stack_for
from trimer.building import build
from trimer.cli.configs import choices, compose
from trimer.errors import ConfigError


@pytest.fixture
def packages(monkeypatch):
    """Make only these versions appear to be installed."""

    def install(**versions):
        monkeypatch.setattr(stacks, "installed", versions.get)

    return install


@pytest.mark.parametrize(
    ("accelerator", "versions", "stack"),
    [
        ("tpu", {"torch": "2.13.0+cpu", "torch_tpu": "0.2.0"}, TORCH_TPU),
        ("tpu", {"torch": "2.9.1+cu128", "torch_xla": "2.9.0"}, TORCH_XLA),
        ("xla_cpu", {"torch": "2.9.1", "torch_xla": "2.9.0"}, TORCH_XLA),
    ],
)
def test_the_installed_stack_is_chosen(packages, accelerator, versions, stack):
    packages(**versions)
    assert stack_for(accelerator) == stack


@pytest.mark.parametrize(
    ("accelerator", "versions", "message"),
    [
        ("tpu", {"torch": "2.13.0"}, r"neither is installed: pip install 'torch_tpu==0\.2\.0'"),
        ("xla_cpu", {"torch": "2.13.0"}, r"torch-xla, which is not installed.*pip install 'torch==2\.9\.1'"),
        ("tpu", {"torch": "2.9.1", "torch_tpu": "0.2.0"}, r"torch 2\.11 to 2\.15, but torch 2\.9\.1 .*pip install"),
        ("tpu", {"torch": "2.13.0", "torch_xla": "2.9.0"}, r"torch-xla 2\.9\.0 works with torch 2\.9, but .*2\.13"),
        ("xla_cpu", {"torch": "2.13.0", "torch_tpu": "0.2.0"}, r"trainer=xla_cpu needs torch-xla"),
    ],
)
def test_missing_and_clashing_packages_are_reported_with_the_command(packages, accelerator, versions, message):
    packages(**versions)
    with pytest.raises(ConfigError, match=message) as caught:
        build(compose("train", [f"trainer={accelerator}"]).trainer)
    assert "\n" not in str(caught.value)


def test_a_stack_without_a_device_is_reported(packages, monkeypatch):
    packages(torch="2.13.0", torch_tpu="0.2.0")
    monkeypatch.setattr(stacks, "_torch_tpu_device", lambda: False)
    with pytest.raises(ConfigError, match="torch_tpu is installed but finds no TPU; use trainer=cpu"):
        check_device("tpu")


def test_another_device_type_in_the_environment_is_reported(packages, monkeypatch):
    packages(torch="2.9.1", torch_xla="2.9.0")
    monkeypatch.setenv("PJRT_DEVICE", "TPU")
    with pytest.raises(ConfigError, match="PJRT_DEVICE=TPU; use export PJRT_DEVICE=CPU"):
        check_device("xla_cpu")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=bf16-true", "must be bf16-mixed or 32-true"),
        ("trainer.devices=0", r"trainer\.devices=0 must be 1 or more"),
        ("trainer.num_nodes=0", r"trainer\.num_nodes=0 must be 1 or more"),
        ("trainer.strategy=ddp", "has its own, with strategy=auto"),
        ("trainer.row_length=0", r"trainer\.row_length=0 must be 1 or more"),
        ("trainer.accelerator=gpu", "must be tpu or xla_cpu"),
    ],
)
def test_settings_unsupported_by_a_tpu_are_rejected(override, message):
    with pytest.raises(ConfigError, match=message):
        build(compose("train", ["trainer=tpu", override]).trainer)


@pytest.mark.parametrize("override", ["trainer.devices=4", "trainer.num_nodes=2"])
def test_several_chips_need_torch_xla(packages, monkeypatch, override):
    packages(torch="2.13.0", torch_tpu="0.2.0")
    monkeypatch.setattr(stacks, "_torch_tpu_device", lambda: True)
    with pytest.raises(ConfigError, match=r"chips with torch-xla only, .* set trainer\.devices=1 .*pip install"):
        build(compose("train", ["trainer=tpu", override]).trainer)


@pytest.mark.parametrize("accelerator", ["tpu", "xla_cpu"])
def test_only_training_runs_on_a_tpu(accelerator):
    cfg = OmegaConf.create({"accelerator": accelerator, "devices": 1, "precision": "bf16-mixed"})
    for ask in (device_of, computing):
        with pytest.raises(ConfigError, match=f"trainer={accelerator} can only train; use trainer=cpu or trainer=gpu"):
            ask(cfg)


@pytest.mark.parametrize("choice", choices("train")["trainer"])
def test_every_trainer_is_built_or_rejected_with_a_sentence(choice, empty_folder):
    """On any machine: a missing device gives a message for the user, not a traceback."""
    cfg = compose("train", [f"trainer={choice}"]).trainer
    try:
        trainer = build(cfg)
    except ConfigError as error:
        assert choice not in ("cpu", "epochs"), error
        assert "\n" not in str(error)
    else:
        assert trainer.max_steps == cfg.max_steps
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
