"""Linear layers with int8 weights, for predictions on the CPU.

Each row of the weights and each input token has a separate scale, so the result of a token does not depend on the
others in the batch. Sums are int32. CPUs without VNNI add two products in 16 bits, which overflows for large
values: there the weights are rounded to 7 bits.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from trimer.models.linear import Linear

LARGEST, LARGEST_OF_7_BITS = 127, 63
SMALLEST_SCALE = 1e-12


@lru_cache(maxsize=1)
@torch.inference_mode()
def largest_weight() -> int:
    """Largest int8 weight for which this CPU adds products exactly."""
    values = torch.full((64, 64), LARGEST, dtype=torch.int8)
    exact = all(bool((torch._int_mm(values, sign * values) == sign * 64 * LARGEST**2).all()) for sign in (1, -1))
    return LARGEST if exact else LARGEST_OF_7_BITS


def rounded(x: Tensor, largest: int = LARGEST) -> tuple[Tensor, Tensor]:
    """Values rounded to int8 and the scale of each row: (T, D) -> (T, D) and (T, 1)."""
    scale = x.abs().amax(-1, keepdim=True).float().div_(largest).clamp_(min=SMALLEST_SCALE)
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer whose weights and input are rounded to int8. (T, D) -> (T, E) in fp32."""

    values: Tensor  # (D, E)
    scale: Tensor  # (1, E)
    bias: Tensor | None

    def __init__(self, linear: nn.Linear):
        super().__init__()
        values, scale = rounded(linear.weight.detach(), largest_weight())
        self.register_buffer("values", values.T.contiguous())
        self.register_buffer("scale", scale.T.contiguous())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        values, scale = rounded(x)
        out = torch._int_mm(values, self.values).float().mul_(scale).mul_(self.scale)
        return out if self.bias is None else out.add_(self.bias)


def use_int8_weights(module: nn.Module) -> None:
    """Replace every linear layer inside a module by an `Int8Linear`."""
    for name, child in module.named_children():
        if isinstance(child, Linear) or type(child) is nn.Linear:
            setattr(module, name, Int8Linear(child))
        else:
            use_int8_weights(child)
