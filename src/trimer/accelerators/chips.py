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
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torchmetrics import Metric

from trimer.accelerators.devices import XLAStrategy
from trimer.accelerators.hosts import Hosts
from trimer.errors import ConfigError
from trimer.flat import Static
from trimer.transfer import Movable


def use_chips(accelerator: str, devices: int, hosts: int = 1) -> None:
    """Make this process use all chips of all hosts as one device, before it touches the first of them.

    devices: chips of each host. ConfigError if there are more or fewer. With `xla_cpu`, each process has the chips of
    all hosts as virtual devices of its CPU, and computes everything.
    """
    import torch_xla.runtime as xr

    if accelerator == "xla_cpu":
        os.environ["CPU_NUM_DEVICES"] = str(devices * hosts)
    present = xr.global_runtime_device_count()
    if present != devices * hosts:
        where = "this process already uses the CPU as" if accelerator == "xla_cpu" else "this TPU has"
        raise ConfigError(
            f"trainer.devices={devices} trainer.num_nodes={hosts}: {where} {present} devices, and all of them are "
            f"used: set trainer.devices={max(present // hosts, 1)}"
        )
    xr.use_spmd()


class ChipsStrategy(XLAStrategy):
    """Data-parallel training on all chips. chips: their number, of all hosts. hosts: None if there is only this one."""

    def __init__(self, chips: int, hosts: Hosts | None = None, **settings: Any):
        super().__init__(0, **settings)
        self.mesh, self.hosts = mesh_of(chips), hosts
        if hosts is not None:
            setattr(rank_zero_only, "rank", hosts.rank)  # noqa: B010 - Lightning reads it; its type has no such name

    @property
    def is_global_zero(self) -> bool:
        """Whether this process writes files. All hosts have the rank 0 otherwise, since each loads whole batches."""
        return self.hosts is None or self.hosts.rank == 0

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        if self.hosts is not None:
            self.hosts.barrier()

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return obj if self.hosts is None else self.hosts.broadcast(obj)

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        if self.hosts is None:
            return decision
        return not self.hosts.any(not decision) if all else self.hosts.any(decision)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        import torch_xla
        import torch_xla.core.xla_model as xm

        seed = xm.get_rng_state()
        torch_xla.sync()  # all hosts execute what is pending; then the first one alone reads its own chips
        xm.set_rng_state(seed)  # the checkpoint holds this one, and `sync` draws another
        super().save_checkpoint(checkpoint, filepath, storage_options)

    def setup(self, trainer: Any) -> None:
        super().setup(trainer)
        module: Any = self.lightning_module
        module.net.register_forward_pre_hook(self._divide_inputs, with_kwargs=True)
        module.net.register_forward_hook(self._gather_outputs)
        for metric in module.modules():
            if isinstance(metric, Metric):  # else sums before and after the first validation would differ in layout
                metric.reset()

    def batch_to_device(self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
        batch = super().batch_to_device(batch, device, dataloader_idx)
        module: Any = self.lightning_module
        return divide(batch, self.mesh) if module.training else batch

    def _divide_inputs(self, net: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        """In a validation, only the network is divided: metrics are computed whole on every chip, as on one chip.

        A divided tensor that the host reads would be compiled anew each time.
        """
        if not net.training:
            args = tuple(self._divided(value) for value in args)
            kwargs = {name: self._divided(value) for name, value in kwargs.items()}
        return args, kwargs

    def _divided(self, value: Any) -> Any:
        """A copy of an input of the network that is divided among the chips, if it is a static batch."""
        if not isinstance(value, Static):
            return value
        return divide(value._with(tensor.clone() for tensor in value._tensors()), self.mesh)

    def _gather_outputs(self, net: nn.Module, inputs: Any, outputs: Any) -> Any:
        return outputs if net.training else tree_map_only(Tensor, self._gathered, outputs)

    def _gathered(self, tensor: Tensor) -> Tensor:
        copy = tensor.clone()  # an annotation of the tensor itself would make every chip compute it whole
        annotate(copy, self.mesh, None)
        return copy


def mesh_of(chips: int) -> Any:
    """The chips as a torch-xla mesh of one dimension, `rows`: those of the batch are divided among them."""
    import torch_xla.distributed.spmd as spmd

    return spmd.Mesh(np.arange(chips), (chips,), ("rows",))


def divide(batch: Any, mesh: Any) -> Any:
    """Divide the rows of a static batch, or of one of its sides, among the chips of a mesh, in place."""
    for tensor in tensors_by_token(batch):
        annotate(tensor, mesh, "rows")
    return batch


def annotate(tensor: Tensor, mesh: Any, first: str | None) -> None:
    """Tell the compiler to divide the first dimension of a tensor; with None, to hold all of it on every chip."""
    import torch_xla

    spec = (first, *[None] * (tensor.dim() - 1))
    torch_xla._XLAC._xla_mark_sharding(tensor, mesh.get_op_sharding(spec))


def tensors_by_token(batch: Any) -> list[Tensor]:
    """The tensors of a static batch with one entry per token of source or target: they are in the order of its rows."""
    if not isinstance(batch, Movable):
        return []
    sides = [side for side in (batch, *vars(batch).values()) if isinstance(side, Static)]
    tokens = {side.tokens.shape[0] for side in sides}
    return [tensor for tensor in batch._tensors() if tensor.dim() and tensor.shape[0] in tokens]
