"""Dropout that draws random numbers only for the positions that it zeroes.

On a CPU the usual dropout costs more than the matrix products around it, since it draws a number for every value. The
distances between zeroed positions follow a geometric distribution, so a tenth of the draws gives the same distribution
of masks when a tenth is zeroed.
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
    if x.device.type != "cpu" or p > 0.5:
        return F.dropout(x, p)
    return _SparseDropout.apply(x, p)


def dropped_places(size: int, p: float) -> Tensor:
    """Sorted places in range(size), each with probability p independently of the others; int64.

    A gap of g - 1 kept values before a zeroed one has probability p (1 - p)^(g - 1): g = ceil(log(u) / log(1 - p)), u
    uniform in (0, 1].
    """
    expected = size * p
    draws = int(expected + 6 * math.sqrt(expected) + 16)  # too few with a probability below 1e-8, and then harmless
    gaps = torch.rand(draws).neg_().add_(1.0).log_().mul_(1 / math.log1p(-p)).ceil_().clamp_(min=1.0)
    places = gaps.long().cumsum(0).sub_(1)
    return places[: int(torch.searchsorted(places, size))]


class _SparseDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p):
        places = dropped_places(x.numel(), p)
        ctx.save_for_backward(places)
        ctx.scale = 1 / (1 - p)
        return _zeroed(x, places, ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        return _zeroed(grad, ctx.saved_tensors[0], ctx.scale), None


def _zeroed(x: Tensor, places: Tensor, scale: float) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype)  # contiguous, whatever x is
    torch.mul(x, scale, out=out)
    out.view(-1).index_fill_(0, places, 0)
    return out
