"""The bound of the network that a checkpoint describes: it may not be much larger than the weights in the file.

Settings such as `width: 1000000` in a small file would otherwise fill the memory before the weights are compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules import module as registration

from trimer.errors import CheckpointError

FACTOR = 2  # parameters that are registered twice, such as tied weights and layers that LoRA replaces
SPARE = 100_000_000  # buffers that are not saved, such as masks and tables of positions
MODULES = 2_000  # besides FACTOR times the number of saved tensors


def build_bounded(
    build: Callable[[], torch.nn.Module], state: Mapping[str, torch.Tensor], path: str | Path
) -> torch.nn.Module:
    """The network that `build` makes; CheckpointError if it is much larger than the saved weights.

    It is built on the meta device first, which needs no memory for weights.
    state: the weights of the file, of which only the sizes are used.
    """
    # A constructor that reads values of a tensor fails on the meta device; it is counted below all the same.
    with bounded(state, path), contextlib.suppress(NotImplementedError, RuntimeError), torch.device("meta"):
        build()
    with bounded(state, path):
        return build()


@contextlib.contextmanager
def bounded(state: Mapping[str, torch.Tensor], path: str | Path) -> Iterator[None]:
    """Count all weights, buffers and modules that are created in the block."""
    saved = sum(weight.numel() for weight in state.values())
    counts = {"numbers": 0, "modules": 0}
    limits = {"numbers": FACTOR * saved + SPARE, "modules": FACTOR * len(state) + MODULES}

    def count(what: str, number: int) -> None:
        counts[what] += number
        if counts[what] > limits[what]:
            raise CheckpointError(
                f"{path} describes a model with more than {limits[what]:,} {what}, but holds {saved:,} numbers in "
                f"{len(state):,} tensors: its settings do not belong to its weights; use another checkpoint"
            )

    def count_tensor(_module: torch.nn.Module, _name: str, value: Any) -> None:
        if value is not None:
            count("numbers", value.numel())

    def count_module(_module: torch.nn.Module, _name: str, _child: Any) -> None:
        count("modules", 1)

    handles = [
        registration.register_module_parameter_registration_hook(count_tensor),
        registration.register_module_buffer_registration_hook(count_tensor),
        registration.register_module_module_registration_hook(count_module),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
