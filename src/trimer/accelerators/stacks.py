"""The software that runs a TPU, and the error for missing packages.

There are two stacks: torch_tpu (torch 2.11 to 2.15, device `tpu`) and torch-xla (requires torch of the same version,
device `xla`). torch-xla can also compile for the CPU, which tests its code path without a TPU.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import metadata

from trimer.errors import ConfigError

TORCH_TPU, TORCH_XLA = "torch_tpu", "torch_xla"
STATIC = ("tpu", "xla_cpu")  # values of trainer.accelerator that need batches of one shape
XLA_TYPES = ("xla", "tpu")  # types of their devices in torch
OLDEST, NEWEST = (2, 11), (2, 15)  # torch for torch_tpu 0.2
INSTALL_TPU = "pip install 'torch_tpu==0.2.0' 'torch>=2.11,<2.14'"
# Trimer's dependencies ask for a newer torch.
INSTALL_XLA = (
    "pip install 'torch==2.9.1' 'torch-xla==2.9.0', then Trimer with --no-deps (the page Hardware of the documentation "
    "has all commands)"
)


def installed(package: str) -> str | None:
    """The version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def major_minor(version: str) -> tuple[int, int]:
    """(2, 9) of 2.9.1+cpu."""
    numbers = re.findall(r"\d+", version)
    return int(numbers[0]), int(numbers[1])


def stack_for(accelerator: str) -> str:
    """The installed stack that runs the accelerator `tpu` or `xla_cpu`: `torch_tpu` or `torch_xla`.

    ConfigError with the command to install if a package is missing or does not fit the installed torch.
    """
    torch, tpu, xla = installed("torch") or "0.0", installed("torch_tpu"), installed("torch_xla")
    if accelerator == "tpu" and tpu is not None:
        if not OLDEST <= major_minor(torch) <= NEWEST:
            raise ConfigError(
                f"trainer=tpu: torch_tpu {tpu} works with torch 2.11 to 2.15, but torch {torch} is installed: "
                f"{INSTALL_TPU}"
            )
        return TORCH_TPU
    if xla is not None:
        if major_minor(xla) != major_minor(torch):
            wanted = ".".join(map(str, major_minor(xla)))
            raise ConfigError(
                f"trainer={accelerator}: torch-xla {xla} works with torch {wanted}, but torch {torch} is installed; in "
                f"a separate environment: {INSTALL_XLA}"
            )
        return TORCH_XLA
    if accelerator == "tpu":
        raise ConfigError(
            f"trainer=tpu needs torch_tpu or torch-xla, and neither is installed: {INSTALL_TPU}; or, in a separate "
            f"environment: {INSTALL_XLA}"
        )
    raise ConfigError(
        f"trainer=xla_cpu needs torch-xla, which is not installed; in a separate environment: {INSTALL_XLA}"
    )


def check_device(accelerator: str, devices: int = 1, hosts: int = 1) -> str:
    """The stack of an accelerator whose device can be used; ConfigError if there is none.

    devices: of each host. hosts: of a pod slice; if there are several, only the process of the first one writes files
    from here on.
    """
    stack = stack_for(accelerator)
    if stack == TORCH_XLA:  # with several chips, XLA warns at each compilation that another partitioner will come
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if accelerator == "xla_cpu":
        # Without these, torch-xla asks a cloud server for the type of the TPU and waits for minutes.
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v4-8")
        if os.environ.setdefault("PJRT_DEVICE", "CPU") != "CPU":
            raise ConfigError(
                f"trainer=xla_cpu: the environment has PJRT_DEVICE={os.environ['PJRT_DEVICE']}; "
                "use export PJRT_DEVICE=CPU"
            )
    elif not {TORCH_TPU: _torch_tpu_device, TORCH_XLA: _torch_xla_device}[stack]():
        raise ConfigError(f"trainer=tpu: {stack} is installed but finds no TPU; use trainer=cpu or trainer=gpu")
    if stack == TORCH_TPU and devices * hosts > 1:
        raise ConfigError(
            f"trainer=tpu trains on {devices * hosts} chips with torch-xla only, and torch_tpu is installed: set "
            f"trainer.devices=1 trainer.num_nodes=1; or, in a separate environment: {INSTALL_XLA}"
        )
    if hosts > 1:
        from trimer.accelerators.hosts import host_rank

        os.environ["RANK"] = str(host_rank(accelerator))
    return stack


def check_can_predict(accelerator: str) -> None:
    """ConfigError if the accelerator can only train: predict, evaluate and embed run on the CPU or a GPU."""
    if accelerator in STATIC:
        raise ConfigError(f"trainer={accelerator} can only train; use trainer=cpu or trainer=gpu for this command")


def _torch_tpu_device() -> bool:
    return _works(lambda: __import__("torch_tpu") and __import__("torch").empty(1, device="tpu:0"))


def _torch_xla_device() -> bool:
    from lightning.pytorch.accelerators import XLAAccelerator

    return _works(XLAAccelerator.is_available)


def _works(probe: Callable[[], object]) -> bool:
    try:
        return probe() is not False
    except (RuntimeError, ImportError, OSError, ValueError, AssertionError):
        return False
