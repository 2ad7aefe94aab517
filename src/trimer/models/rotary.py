"""Rotary position embeddings: queries and keys are rotated by an angle that grows with their position.

Su et al. 2021, https://arxiv.org/abs/2104.09864, where the halves of a head form pairs: (x1, x2) -> (x1 cos - x2 sin,
x2 cos + x1 sin). Angles and products are fp32 in any precision: bf16 cannot distinguish all positions above 256.

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
    """Rotate queries or keys: (T, H, D) -> (T, H, D) in the dtype of x; the products are fp32."""
    if torch.compiler.is_compiling():  # the compiler fuses the plain formula
        first, second = x.float().chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)
    return _Rotate.apply(x, cos, sin)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _frequencies(width: int, device: torch.device) -> Tensor:
    """(D / 2,) fp32. Never read from a checkpoint, where they may have been rounded to half precision."""
    return (BASE ** -(torch.arange(0, width, 2, dtype=torch.int64).float() / width)).to(device)


class _Rotate(torch.autograd.Function):
    """Rotation whose gradient is the rotation by the opposite angle, so that only the tables are kept for it."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, -sin), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, -1)
    out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    left, right = out.chunk(2, -1)
    torch.mul(first, cos, out=left)
    torch.mul(second, cos, out=right)
    left.addcmul_(second, sin, value=-1)
    right.addcmul_(first, sin)
    return out.to(x.dtype)
