"""Where and in which precision a network computes outside of training, from the trainer's own config."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from omegaconf import DictConfig
from torch import nn

from trimer.errors import ConfigError


def device_of(trainer: DictConfig) -> torch.device:
    """The first device that trainer.accelerator names; `auto` takes a GPU where there is one."""
    wanted = trainer.accelerator
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", 0)
    raise ConfigError(f"trainer.accelerator={wanted}: no such device here; use trainer=cpu")


def place(net: nn.Module, trainer: DictConfig) -> nn.Module:
    """The network on that device, ready to predict."""
    return net.to(device_of(trainer)).eval()


def computing(trainer: DictConfig) -> AbstractContextManager:
    """bf16 products where trainer.precision says so, else full precision."""
    if str(trainer.precision).startswith("bf16"):
        return torch.autocast(device_of(trainer).type, dtype=torch.bfloat16)
    return nullcontext()
