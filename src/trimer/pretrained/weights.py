"""The number formats in which a packed model stores the weights of its network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trimer.errors import CheckpointError, ConfigError

FORMATS = ("float32", "float16", "int8")
SCALE = ":scale"  # ends the name of the scales of an int8 matrix, one for each row
LARGEST_HALF = 65504.0
LARGEST_INT8 = 127


def stored(weights: Mapping[str, Tensor], number_format: str) -> dict[str, Tensor]:
    """The weights of a network in a number format; ConfigError if it is unknown.

    Vectors (biases, norms, temperatures) stay in float32: they are small.
    """
    if number_format not in FORMATS:
        raise ConfigError(f"weights={number_format} must be one of {', '.join(FORMATS)}")
    tensors: dict[str, Tensor] = {}
    for name, value in weights.items():
        if number_format == "float32" or value.dtype != torch.float32 or value.dim() < 2:
            tensors[name] = value
        elif number_format == "float16":
            tensors[name] = halved(value, name)
        else:
            tensors[name], tensors[name + SCALE] = rounded(value)
    return tensors


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `stored`, up to rounding: all weights in float32."""
    weights = {}
    for name, value in tensors.items():
        if (scale := tensors.get(name + SCALE)) is not None:
            weights[name] = value.float() * scale.view(-1, *[1] * (value.dim() - 1))
        elif not name.endswith(SCALE):
            weights[name] = value.float() if value.dtype == torch.float16 else value
    return weights


def halved(value: Tensor, name: str) -> Tensor:
    """A matrix as float16; CheckpointError if a value does not fit."""
    if value.numel() and float(value.abs().max()) > LARGEST_HALF:
        raise CheckpointError(f"the weights {name} are too large for half precision: pack with weights=float32")
    return value.to(torch.float16)


def rounded(value: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as int8, and the scale of each row: the largest absolute value of the row is stored as 127."""
    scale = value.abs().flatten(1).amax(1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST_INT8
    steps = value / scale.view(-1, *[1] * (value.dim() - 1))
    return steps.round().clamp(-LARGEST_INT8, LARGEST_INT8).to(torch.int8), scale
