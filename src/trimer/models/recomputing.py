"""Activation checkpointing: a layer keeps only its inputs, and is computed again for the gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, x: Tensor, *inputs: Any) -> Tensor:
    """The output of a layer, whose activations are computed again for the gradients."""
    if x.device.type == "xla":  # PyTorch's function does not know its random numbers
        from torch_xla.utils.checkpoint import checkpoint as checkpoint_xla

        if torch.is_grad_enabled() and not x.requires_grad:  # it computes gradients only behind an input that has one
            if not any(weight.requires_grad for weight in layer.parameters()):
                return layer(x, *inputs)
            x = x.detach().requires_grad_()
        return checkpoint_xla(layer, x, *inputs)
    return checkpoint(layer, x, *inputs, use_reentrant=False)
