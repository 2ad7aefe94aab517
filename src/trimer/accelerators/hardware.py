"""Where and in which precision a network computes outside of training, from the trainer's own config."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from trimer.accelerators.stacks import refuse_prediction
from trimer.errors import ConfigError
from trimer.suggestions import did_you_mean

# The names of Lightning's trainer.
PRECISIONS = ("bf16-mixed", "bf16-true", "bf16", "16-mixed", "16-true", "16", "32-true", "32", "64-true", "64")
INT8 = "int8"  # weights of an encoder, outside of training


def device_of(trainer: DictConfig) -> torch.device:
    """The first device that trainer.accelerator and a list trainer.devices name; `auto` takes a GPU if there is one."""
    wanted = trainer.accelerator
    refuse_prediction(wanted)
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if wanted in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        devices = trainer.get("devices")
        index = devices[0] if OmegaConf.is_list(devices) and devices else 0
        gpus = range(torch.cuda.device_count())
        if index not in gpus:
            raise ConfigError(f"trainer.devices={devices}: the GPUs of this machine are {list(gpus)}")
        return torch.device("cuda", index)
    raise ConfigError(f"trainer.accelerator={wanted}: no such device here; use trainer=cpu")


def peak_memory() -> float | None:
    """Peak memory of this process in MB: of the GPU if there is one, else of the host; None on Windows."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3  # macOS counts bytes, Linux KiB


def place(net: nn.Module, trainer: DictConfig) -> nn.Module:
    """The network on that device, ready to predict; with trainer.precision=int8 its blocks have int8 weights."""
    net = net.to(device_of(trainer)).eval()
    return with_int8_weights(net) if str(trainer.precision) == INT8 else net


def with_int8_weights(net: nn.Module) -> nn.Module:
    """The network with the linear layers of its blocks in int8, in place.

    Their input is rounded to int8 too, so the vectors change by 2 to 5 per cent.
    """
    if not hasattr(net, "layers"):
        raise ConfigError(f"trainer.precision={INT8} is for encoders; molecules are written in fp32 or bf16")
    from trimer.models.int8 import use_int8_weights

    use_int8_weights(net.layers)
    return net


def computing(trainer: DictConfig) -> AbstractContextManager:
    """bf16 products where trainer.precision says so, else full precision (or int8 weights, which `place` makes)."""
    if str(trainer.precision) == INT8:
        if device_of(trainer).type != "cpu":
            raise ConfigError(f"trainer.precision={INT8} is for the processor: use trainer=cpu, or another precision")
        return nullcontext()
    if str(trainer.precision) not in PRECISIONS:
        raise ConfigError(
            f"trainer.precision={trainer.precision} is not one of {', '.join(PRECISIONS)}, nor {INT8}"
            f"{did_you_mean(str(trainer.precision), PRECISIONS)}"
        )
    if str(trainer.precision).startswith("bf16"):
        return torch.autocast(device_of(trainer).type, dtype=torch.bfloat16)
    return nullcontext()
