"""Rotary positions: queries and keys are turned by an angle that grows with their place in the sequence.

Su et al. 2021, https://arxiv.org/abs/2104.09864, with the halves of a head as pairs: (x1, x2) -> (x1 cos - x2 sin,
x2 cos + x1 sin). Angles and products are fp32 whatever the precision around them: in bf16 the positions above 256 would
run together.

Shapes: T tokens, H heads, D width of one head.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

BASE = 10_000.0


def rotary_tables(positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """cos and sin of the angles of each token: (T, 1, D / 2) fp32 each. positions: (T,) integers; width: D, even."""
    angles = positions.float()[:, None] * _frequencies(width, positions.device)  # (T, D / 2)
    return angles.cos()[:, None], angles.sin()[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys: (T, H, D) -> (T, H, D) in their own dtype; the products are fp32."""
    if torch.compiler.is_compiling():  # fuses the plain formula by itself
        first, second = x.float().chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)
    return _Rotate.apply(x, cos, sin)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _frequencies(width: int, device: torch.device) -> Tensor:
    """(D / 2,) fp32. Never read from a checkpoint: those may hold values that were rounded to half precision."""
    return (BASE ** -(torch.arange(0, width, 2, dtype=torch.int64).float() / width)).to(device)


class _Rotate(torch.autograd.Function):
    """A rotation, so its gradient is the rotation by the opposite angle and nothing but the tables is kept."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, -1)
    out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    left, right = out.chunk(2, -1)
    torch.mul(first, cos, out=left)
    torch.mul(second, cos, out=right)
    left.addcmul_(second, sin, value=-1)
    right.addcmul_(first, sin)
    return out.to(x.dtype)
