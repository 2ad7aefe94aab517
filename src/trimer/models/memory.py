"""GPU memory for training an encoder, and whether it needs activation checkpointing to fit.

The estimate includes weights, their copies in the dtype of the products, gradients, Adam's two moments, and the tensors
that autograd keeps in the layers. It does not include workspaces of kernels, the head and fragmentation, for which a
tenth of the memory stays free. Compiled models need less.
"""

from __future__ import annotations

from typing import Any

from trimer.errors import ConfigError

CHECKPOINTING = (True, False, "auto")
USABLE = 0.9  # of the memory of a device
# Bytes that autograd keeps per token and layer: per unit of the model width, per unit of the feed-forward width, and
# (included in the first number) for the hidden state at the input of the layer.
MIXED, HALF, FULL = (24, 4, 4), (20, 4, 2), (40, 8, 4)


def check_checkpointing(value: bool | str) -> None:
    """ConfigError for an invalid value of `model.checkpointing`."""
    if value not in CHECKPOINTING:
        raise ConfigError(f"model.checkpointing={value} must be true, false or auto")


def training_bytes(
    net: Any, tokens: int, precision: str = "bf16-mixed", devices: int = 1, checkpointing: bool = False
) -> float:
    """Estimated bytes on one device to train an encoder on batches of `tokens` tokens.

    net: encoder (nn.Module) with `d_model` and with `layers` that have `up`, the first feed-forward layer. precision:
    of the trainer. devices: number of devices that share the weights (fsdp2). checkpointing: keep only the hidden
    states between the layers, and recompute one layer at a time.
    """
    by_width, by_ffn, entering = HALF if precision.endswith("16-true") else MIXED if "16" in precision else FULL
    copy = 2 if by_width == MIXED[0] else 0
    state = sum(p.numel() * (p.element_size() * (4 if p.requires_grad else 1) + copy) for p in net.parameters())
    layers = len(net.layers)
    per_layer = by_width * net.d_model + by_ffn * net.layers[0].up.out_features
    per_token = layers * entering * net.d_model + per_layer if checkpointing else layers * per_layer
    return state / devices + per_token * tokens


def needs_checkpointing(
    net: Any, tokens: int, precision: str = "bf16-mixed", devices: int = 1, *, memory: float
) -> bool:
    """Whether `training_bytes` exceeds the usable memory of a device. memory: total, in bytes."""
    return training_bytes(net, tokens, precision, devices) > USABLE * memory
