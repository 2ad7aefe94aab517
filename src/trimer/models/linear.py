"""The linear layer of the models: faster in bf16 on a CPU, with the values of torch within rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

FEW_ROWS = 1024  # below, converting weights costs more than is gained; autocast keeps those of torch's own layer


class Linear(nn.Linear):
    """x W^T + b. In bf16 on a CPU the bias is added within the product.

    torch writes the bias to the result first and adds the product to it, which costs up to a sixth of the time of the
    product.
    """

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if self.bias is None or x.dim() != 2 or not _adds_bias(x, dtype):
            return super().forward(x)
        if len(x) < FEW_ROWS and self.weight.dtype != dtype and not torch.is_grad_enabled():
            return super().forward(x)
        return _Linear.apply(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))


def _adds_bias(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether oneDNN can add the bias; a network that is compiled or exported keeps to the product of torch."""
    if dtype != torch.bfloat16 or x.device.type != "cpu" or x.numel() == 0:
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x, weight), (gradient,), needed = ctx.saved_tensors, outer, ctx.needs_input_grad
        return (
            gradient @ weight if needed[0] else None,
            gradient.t() @ x if needed[1] else None,
            gradient.sum(0) if needed[2] else None,
        )
