"""Which tensors are rounded with `bf16-true` and `16-true`, and with `bf16-mixed` and fsdp2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import HalfPrecision
from torch import nn


class HalfWeights(HalfPrecision):
    """`bf16-true` and `16-true` that round only the weights, not data, buffers and new tensors.

    Lightning's plugin also rounds the batch (a label of 1234.5 becomes 1232) and makes the half type the default type,
    which rounds sums, counts and positions.
    """

    def convert_module(self, module: nn.Module) -> nn.Module:
        for parameter in module.parameters():
            parameter.data = parameter.data.to(self._desired_input_dtype)
        return module

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        yield

    def convert_input(self, data: Any) -> Any:
        return data


def keep_data_whole(trainer: L.Trainer) -> None:
    """Make a trainer with `bf16-true` or `16-true` round only the weights."""
    plugin = trainer.precision_plugin
    if type(plugin) is HalfPrecision:
        trainer.strategy.precision_plugin = HalfWeights(plugin.precision)


def sharded_policy(precision: str) -> Any:
    """Types for fully_shard: with `bf16-mixed`, weights are fp32, products bf16, and gradients are reduced in fp32."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if precision != "bf16-mixed":
        return MixedPrecisionPolicy()
    # Inputs are not cast: autocast rounds the operands of products, and m/z and labels need full precision.
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
