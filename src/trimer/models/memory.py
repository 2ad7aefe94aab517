"""GPU memory for training an encoder or a BART, and whether it needs activation checkpointing to fit.

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
# Values that autograd keeps in a layer of BART, by the model width: per token of its side without and with dropout, and
# in the decoder per source token. Each is of the dtype of the products, but those of dropout are bytes.
ENCODER, DECODER, CROSS = (8, 2), (12, 3), 2


def check_checkpointing(value: bool | str) -> None:
    """ConfigError for an invalid value of `model.checkpointing`."""
    if value not in CHECKPOINTING:
        raise ConfigError(f"model.checkpointing={value} must be true, false or auto")


def training_bytes(
    net: Any, tokens: int, precision: str = "bf16-mixed", devices: int = 1, checkpointing: bool = False
) -> float:
    """Estimated bytes on one device to train a network on batches of `tokens` tokens.

    net: encoder (nn.Module) with `d_model` and with `layers` that have `up`, the first feed-forward layer; or a `Bart`,
    for batches with as many source tokens as target tokens. precision: of the trainer. devices: number of devices that
    share the weights (fsdp2). checkpointing: keep only the hidden states between the layers, and recompute one layer at
    a time.
    """
    copy = 2 if "16-mixed" in precision else 0
    state = sum(p.numel() * (p.element_size() * (4 if p.requires_grad else 1) + copy) for p in net.parameters())
    per_token = _bart_bytes if hasattr(net, "decoder") else _encoder_bytes
    return state / devices + per_token(net, precision, checkpointing) * tokens


def _encoder_bytes(net: Any, precision: str, checkpointing: bool) -> float:
    """Bytes that autograd keeps per token of an encoder."""
    by_width, by_ffn, entering = HALF if precision.endswith("16-true") else MIXED if "16" in precision else FULL
    layers = len(net.layers)
    per_layer = by_width * net.d_model + by_ffn * net.layers[0].up.out_features
    return layers * entering * net.d_model + per_layer if checkpointing else layers * per_layer


def _bart_bytes(net: Any, precision: str, checkpointing: bool) -> float:
    """Bytes that autograd keeps per token of a `Bart`, where half of the tokens are of the source."""
    size = 2 if "16" in precision else 4
    encoder, decoder = (_bart_layer(layers[0], net.d_model, size) for layers in (net.encoder, net.decoder))
    if checkpointing:  # hidden states between the layers, and one layer
        return (len(net.encoder) + len(net.decoder)) / 2 * size * net.d_model + max(encoder, decoder) / 2
    return (len(net.encoder) * encoder + len(net.decoder) * decoder) / 2


def _bart_layer(layer: Any, width: int, size: int) -> float:
    """Bytes that autograd keeps in a layer for one token of each side."""
    values, masks = DECODER if hasattr(layer, "cross_attention") else ENCODER
    by_width = values * size + (masks if layer.self_attention_norm.dropout else 0)
    if hasattr(layer, "cross_attention"):
        by_width += CROSS * size
    return by_width * width + 2 * size * layer.feed_forward.up.out_features
