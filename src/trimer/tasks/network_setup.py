"""Preparation of a network for training: activation checkpointing, and sharding over several GPUs."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from trimer.models.memory import needs_checkpointing, training_bytes

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
    enabled = needs_checkpointing(encoder, tokens, trainer.precision, devices, memory=memory)
    log.info(
        "activation checkpointing is %s: training on %s tokens per batch needs about %.0f GB without it, the GPU has "
        "%.0f GB",
        "on" if enabled else "off", f"{tokens:,}", required / 1e9, memory / 1e9,
    )  # fmt: skip
    return enabled


def shard(net: nn.Module, mesh: Any, precision: str) -> None:
    """Shard a network layer by layer over a mesh of devices (fsdp2), in place."""
    from torch.distributed.fsdp import fully_shard

    from trimer.accelerators.precision import sharded_policy

    options = {"mesh": mesh["data_parallel"], "mp_policy": sharded_policy(precision)}
    for blocks in net.modules():
        if isinstance(blocks, nn.ModuleList):
            for layer in blocks:
                fully_shard(layer, **options)
    fully_shard(net, **options)
