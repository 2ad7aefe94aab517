"""Which tensors low precision rounds: under `bf16-true` and `16-true`, and under `bf16-mixed` with fsdp2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import HalfPrecision
from torch import nn


class HalfWeights(HalfPrecision):
    """`bf16-true` and `16-true`: the weights are rounded, the data, the buffers and new tensors are not.

    Lightning's own plugin also rounds the batch, so that a label of 1234.5 becomes 1232, and makes the half type the
    default one, so that sums, counts and positions are rounded too.
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
    """Let a trainer with `bf16-true` or `16-true` round nothing but the weights."""
    plugin = trainer.precision_plugin
    if type(plugin) is HalfPrecision:
        trainer.strategy.precision_plugin = HalfWeights(plugin.precision)


def sharded_policy(precision: str) -> Any:
    """Types of fully_shard: with `bf16-mixed` weights stay fp32, products are bf16, gradients are reduced in fp32."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if precision != "bf16-mixed":
        return MixedPrecisionPolicy()
    # Inputs stay as they are: autocast rounds what enters a product, and m/z or labels need their digits.
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
