"""Preparation of a network for training: activation checkpointing, compilation, and sharding over several GPUs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trimer.accelerators.static_gpu import StaticGpuTrainer
from trimer.accelerators.trainer import StaticTrainer
from trimer.errors import ConfigError
from trimer.flat import Rows
from trimer.models.memory import USABLE, training_bytes
from trimer.protocols import compile_parts

log = logging.getLogger(__name__)


def choose_checkpointing(net: nn.Module, trainer: Any, sharded: bool) -> None:
    """Set `checkpointing` of each network that has "auto", by the memory of the GPU on which it is trained.

    sharded: whether the devices of the trainer share the weights (fsdp2).
    """
    encoder: Any
    for encoder in net.modules():
        if getattr(encoder, "checkpointing", None) == "auto":
            encoder.checkpointing = _needs_checkpointing(encoder, trainer, sharded)


def _needs_checkpointing(encoder: nn.Module, trainer: Any, sharded: bool) -> bool:
    device = trainer.strategy.root_device
    if device.type != "cuda" or trainer.datamodule is None:
        return False
    tokens = trainer.datamodule.tokens_per_batch
    devices = trainer.world_size if sharded else 1
    memory = torch.cuda.get_device_properties(device).total_memory
    required = training_bytes(encoder, tokens, trainer.precision, devices)
    enabled = required > USABLE * memory
    log.info(
        "activation checkpointing is %s: training on %s tokens per batch needs about %.0f GB without it, the GPU has "
        "%.0f GB",
        "on" if enabled else "off", f"{tokens:,}", required / 1e9, memory / 1e9,
    )  # fmt: skip
    return enabled


def compile_network(net: nn.Module, trainer: Any) -> None:
    """Compile a network in place: whole blocks for batches of one shape on a GPU, else the token-wise parts.

    Nothing on an XLA device, which compiles every step as a whole.
    """
    if isinstance(trainer, StaticTrainer):
        return
    if isinstance(trainer, StaticGpuTrainer):
        compile_blocks(net, trainer.cuda_graphs)
    else:
        compile_parts(net)


def compile_blocks(net: nn.Module, cuda_graphs: bool = False) -> None:
    """Compile each block of a network as a whole, in place; blocks are the members of its ModuleLists.

    ConfigError if there are none, or for CUDA graphs with activation checkpointing.
    """
    name = type(net).__name__
    blocks = [block for parts in net.modules() if isinstance(parts, nn.ModuleList) for block in parts]
    if not blocks:
        raise ConfigError(f"task.compile=true: model={name} has no nn.ModuleList of blocks: set task.compile=false")
    if cuda_graphs and any(getattr(module, "checkpointing", False) is True for module in net.modules()):
        raise ConfigError(
            "trainer.cuda_graphs=true: a graph does not recompute activations; set model.checkpointing=false or "
            "trainer.cuda_graphs=false"
        )
    for block in blocks:
        block.forward = _compiled(block.forward, cuda_graphs)


def _compiled(forward: Callable[..., Any], cuda_graphs: bool) -> Callable[..., Any]:
    """The forward pass of a block, compiled for static batches; flat batches would compile it for each batch.

    CUDA graphs are only used where a backward pass follows: without one, PyTorch frees the output of a block as soon as
    the next block runs.
    """
    compiled = torch.compile(forward, fullgraph=True, dynamic=False)
    graphs = torch.compile(forward, fullgraph=True, dynamic=False, mode="reduce-overhead") if cuda_graphs else compiled

    def choose(x: torch.Tensor, *inputs: Any) -> Any:
        if not any(isinstance(getattr(value, "sizes", value), Rows) for value in inputs):
            return forward(x, *inputs)
        return (graphs if torch.is_grad_enabled() and x.requires_grad else compiled)(x, *inputs)

    return choose


def zero_gradients(net: nn.Module, optimizer: torch.optim.Optimizer, trainer: Any) -> None:
    """Set the gradients to None; with CUDA graphs to zero, so that they keep their memory.

    Autograd would keep the gradients that a graph returns, without a copy, and the next replay would overwrite them:
    sums over several batches would be wrong.
    """
    keep = getattr(trainer, "cuda_graphs", False)
    for parameter in net.parameters() if keep else ():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.zero_grad(set_to_none=not keep)


def shard(net: nn.Module, mesh: Any, trainer: Any) -> None:
    """Shard a network layer by layer over a mesh of devices (fsdp2), in place.

    ConfigError if a callback averages the weights: it would keep a copy of whole weights.
    """
    from lightning.pytorch.callbacks import WeightAveraging
    from torch.distributed.fsdp import fully_shard

    from trimer.accelerators.precision import sharded_policy

    if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):
        raise ConfigError(
            "callbacks=ema averages whole weights, which trainer=fsdp2 divides among the devices: use trainer=ddp, or "
            "other callbacks"
        )
    options = {"mesh": mesh["data_parallel"], "mp_policy": sharded_policy(trainer.precision)}
    for blocks in net.modules():
        if isinstance(blocks, nn.ModuleList):
            for layer in blocks:
                fully_shard(layer, **options)
    fully_shard(net, **options)
