"""The device and precision of predict, embed and evaluate, from the trainer config."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from trimer.accelerators.stacks import check_can_predict
from trimer.errors import ConfigError
from trimer.suggestions import did_you_mean

# Names of Lightning's trainer.precision.
PRECISIONS = ("bf16-mixed", "bf16-true", "bf16", "16-mixed", "16-true", "16", "32-true", "32", "64-true", "64")
INT8 = "int8"  # int8 weights of an encoder; not for training


def device_of(trainer: DictConfig) -> torch.device:
    """The device of trainer.accelerator, the first of a list trainer.devices; `auto` uses a GPU if there is one."""
    accelerator = trainer.accelerator
    check_can_predict(accelerator)
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        devices = trainer.get("devices")
        index = devices[0] if OmegaConf.is_list(devices) and devices else 0
        gpus = range(torch.cuda.device_count())
        if index not in gpus:
            raise ConfigError(f"trainer.devices={devices}: the GPUs of this machine are {list(gpus)}; use one of them")
        return torch.device("cuda", index)
    raise ConfigError(f"trainer.accelerator={accelerator}: this machine has no such device; use trainer=cpu")


def check_gpu(accelerator: str) -> None:
    """ConfigError if trainer.accelerator asks for a GPU and torch finds none."""
    on_mac = accelerator in ("gpu", "mps") and torch.backends.mps.is_available()
    if accelerator not in ("gpu", "cuda", "mps") or torch.cuda.is_available() or on_mac:
        return
    built = torch.version.cuda or torch.version.hip or torch.backends.mps.is_built()
    reason = (
        "torch finds no GPU" if built else f"the installed torch {torch.__version__} is a build without GPU support"
    )
    raise ConfigError(f"trainer.accelerator={accelerator}: {reason}; use trainer=cpu")


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


def available_memory() -> float | None:
    """Free memory of the host in MB, or what is left of the limit of a container; None where neither is known."""
    free = []
    try:
        words = Path("/proc/meminfo").read_text().split()
        free.append(int(words[words.index("MemAvailable:") + 1]) / 1e3)
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        free.append((int(limit) - int(used)) / 1e6)
    except (OSError, ValueError):  # another system, or no limit
        pass
    return max(0.0, min(free)) if free else None


def place(net: nn.Module, trainer: DictConfig) -> nn.Module:
    """The network on its device, in evaluation mode; trainer.precision=int8 converts its blocks to int8."""
    net = net.to(device_of(trainer)).eval()
    return with_int8_weights(net) if str(trainer.precision) == INT8 else net


def with_int8_weights(net: nn.Module) -> nn.Module:
    """The network, with the linear layers of its blocks converted to int8 in place.

    Their inputs are rounded to int8 too, so embeddings change by about 3 percent (benchmarks/README.md).
    """
    if not hasattr(net, "layers"):
        raise ConfigError(
            f"trainer.precision={INT8} is for encoders only: to generate molecules, use 32-true or bf16-mixed"
        )
    from trimer.models.int8 import use_int8_weights

    use_int8_weights(cast("nn.Module", net.layers))
    return net


def computing(trainer: DictConfig) -> AbstractContextManager:
    """Context of the computations: bf16 products if trainer.precision is bf16, else full precision."""
    if str(trainer.precision) == INT8:
        if device_of(trainer).type != "cpu":
            raise ConfigError(f"trainer.precision={INT8} runs on the CPU only: use trainer=cpu, or another precision")
        return nullcontext()
    if str(trainer.precision) not in PRECISIONS:
        raise ConfigError(
            f"trainer.precision={trainer.precision} is not one of {', '.join(PRECISIONS)}, nor {INT8}"
            f"{did_you_mean(str(trainer.precision), PRECISIONS)}"
        )
    if str(trainer.precision).startswith("bf16"):
        return torch.autocast(device_of(trainer).type, dtype=torch.bfloat16)
    return nullcontext()
