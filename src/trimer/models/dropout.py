"""Dropout that draws random numbers only for the values that it sets to zero.

On a CPU the usual dropout costs more than the matrix products around it, since it draws a number for every value. The
distances between zeroed values follow a geometric distribution. With a dropout of 0.1, a tenth of the draws therefore
gives the same distribution of masks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each value with probability p and divide the others by 1 - p; the identity outside training."""
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or p > 0.5 or torch.compiler.is_compiling():  # the number of zeroed values varies
        return F.dropout(x, p)
    return _SparseDropout.apply(x, p)


def dropped_indices(size: int, p: float) -> Tensor:
    """Sorted indices in range(size), each with probability p independently of the others; (n,) int64.

    A gap of g - 1 kept values before a zeroed one has probability p (1 - p)^(g - 1): g = ceil(log(u) / log(1 - p)), u
    uniform in (0, 1].
    """
    expected = size * p
    draws = int(expected + 6 * math.sqrt(expected) + 16)  # too few with probability < 1e-8, without harm
    gaps = torch.rand(draws).neg_().add_(1.0).log_().mul_(1 / math.log1p(-p)).ceil_().clamp_(min=1.0)
    indices = gaps.long().cumsum(0).sub_(1)
    return indices[: int(torch.searchsorted(indices, size))]


class _SparseDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p):
        indices = dropped_indices(x.numel(), p)
        ctx.save_for_backward(indices)
        ctx.scale = 1 / (1 - p)
        return _zeroed(x, indices, ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        return _zeroed(grad, ctx.saved_tensors[0], ctx.scale), None


def _zeroed(x: Tensor, indices: Tensor, scale: float) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype)  # contiguous, whatever x is
    torch.mul(x, scale, out=out)
    out.view(-1).index_fill_(0, indices, 0)
    return out
