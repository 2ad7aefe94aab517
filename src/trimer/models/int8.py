"""Linear layers with int8 weights, for predictions on the processor.

Each row of the weights, and each token that comes in, has a scale of its own, so what a token gets does not depend on
the others in the batch. Sums are int32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST = 127
SMALLEST_SCALE = 1e-12


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 values and the scale of each row: (T, D) -> (T, D) and (T, 1)."""
    scale = x.abs().amax(-1, keepdim=True).float().div_(LARGEST).clamp_(min=SMALLEST_SCALE)
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer whose weights and input are rounded to int8. (T, D) -> (T, E) in fp32."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        values, scale = rounded(linear.weight.detach())
        self.register_buffer("values", values.T.contiguous())  # (D, E)
        self.register_buffer("scale", scale.T.contiguous())  # (1, E)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        values, scale = rounded(x)
        out = torch._int_mm(values, self.values).float().mul_(scale).mul_(self.scale)
        return out if self.bias is None else out.add_(self.bias)


def use_int8_weights(module: nn.Module) -> None:
    """Put an `Int8Linear` in the place of every linear layer below a module."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, Int8Linear(child))
        else:
            use_int8_weights(child)
