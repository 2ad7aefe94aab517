"""Training on several TPU chips by torch-xla's SPMD mode, in which all chips are one device.

Each host runs one process, which traces the program of a single device for a whole batch. Tensors with one entry per
token are divided among the chips, at the borders of rows; weights and optimizer state are on every chip. The compiler
divides the computation accordingly and adds the all-reduce of the gradients. So a training on N chips is that of one
chip with N times the rows in a batch: the data, the schedule, checkpoints and exact resumption are the same.

On several hosts, each host prepares every batch and sends its chips their rows. Only the first host writes files.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from trimer.accelerators.devices import XLAStrategy
from trimer.errors import ConfigError
from trimer.flat import Static
from trimer.transfer import Movable


def use_chips(accelerator: str, devices: int, hosts: int = 1) -> None:
    """Make this process use all chips of all hosts as one device, before it touches the first of them.

    devices: chips of each host. ConfigError if there are more or fewer.
    """
    import torch_xla.runtime as xr

    if accelerator == "xla_cpu":  # virtual devices of one CPU
        os.environ["CPU_NUM_DEVICES"] = str(devices)
    xr.use_spmd()
    present = xr.global_runtime_device_count()
    if present != devices * hosts:
        of = "the CPU of this process" if accelerator == "xla_cpu" else "this TPU"
        raise ConfigError(
            f"trainer.devices={devices}, trainer.num_nodes={hosts}: {of} has {present} devices, and all of them must "
            f"be used: set trainer.devices={present // hosts}"
        )


class ChipsStrategy(XLAStrategy):
    """Data-parallel training on all chips. chips: their number, of all hosts."""

    def __init__(self, chips: int, **settings: Any):
        import torch_xla.distributed.spmd as spmd

        super().__init__(0, **settings)
        self.mesh = spmd.Mesh(np.arange(chips), (chips,), ("rows",))

    def batch_to_device(self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
        batch = super().batch_to_device(batch, device, dataloader_idx)
        for tensor in tensors_by_token(batch):
            self._divide(tensor)
        return batch

    def _divide(self, tensor: torch.Tensor) -> None:
        """Divide a tensor among the chips along its first dimension."""
        import torch_xla

        spec = ("rows", *[None] * (tensor.dim() - 1))
        torch_xla._XLAC._xla_mark_sharding(tensor, self.mesh.get_op_sharding(spec))


def tensors_by_token(batch: Any) -> list[torch.Tensor]:
    """The tensors of a static batch with one entry per token of source or target: they are in the order of its rows."""
    if not isinstance(batch, Movable):
        return []
    sides = [side for side in vars(batch).values() if isinstance(side, Static)]
    tokens = {side.tokens.shape[0] for side in sides}
    return [tensor for tensor in batch._tensors() if tensor.dim() and tensor.shape[0] in tokens]
