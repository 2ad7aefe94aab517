"""Device and precision outside of training, by the names of Lightning's trainer."""

import pytest
import torch
from omegaconf import OmegaConf

from trimer.errors import ConfigError
from trimer.hardware import computing, device_of


def trainer(**settings):
    return OmegaConf.create({"accelerator": "cpu", "devices": 1, "precision": "32-true", **settings})


def test_the_first_device_of_a_list(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of(trainer(devices=[1])) == torch.device("cpu")
    assert device_of(trainer(accelerator="gpu", devices=2)) == torch.device("cuda", 0)
    assert device_of(trainer(accelerator="gpu", devices=[1, 0])) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"trainer\.devices=\[3\]: the GPUs of this machine are \[0, 1\]"):
        device_of(trainer(accelerator="gpu", devices=[3]))


def test_the_names_of_a_precision():
    for name in ("bf16-mixed", "bf16-true", "16-mixed", "32-true", 32, "64-true"):
        with computing(trainer(precision=name)):
            assert torch.is_autocast_enabled("cpu") == str(name).startswith("bf16")
    with pytest.raises(ConfigError, match=r"trainer\.precision=bf16-mixd .*did you mean bf16-mixed"):
        computing(trainer(precision="bf16-mixd"))
