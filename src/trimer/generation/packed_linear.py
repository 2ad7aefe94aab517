"""Linear layers for generation, with weights reordered once for many products with few rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class PackedLinear:
    """x W^T + b with fixed weights, which are stored in the layout of oneDNN on the CPU.

    With few rows, the usual product spends much of its time on reordering the weights. oneDNN also sums a row in the
    same order for any number of rows.
    """

    def __init__(self, weight: Tensor, bias: Tensor, rows: int):
        """rows: approximate number of rows of x, for which the layout is chosen."""
        self.weight, self.bias = weight, bias
        self.packed = can_pack(weight)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)

    def __call__(self, x: Tensor) -> Tensor:
        """(R, in) -> (R, out)."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)


def can_pack(weight: Tensor) -> bool:
    """Whether torch has oneDNN, and oneDNN supports this dtype on this CPU."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype == torch.float32
