"""Floating-point operations of an encoder, for throughput as a fraction of the peak of the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def encoder_training_flops(net: Any, sizes: Sequence[int], masked: int) -> float:
    """Floating-point operations of the matrix products in one forward and backward pass, without recomputation.

    net: encoder whose `layers` have the linear layers query_key_value, output, up and down. sizes: B lengths. masked:
    number of positions at which the head predicts a token.
    """
    block = net.layers[0]
    tokens, squares = sum(sizes), sum(length * length for length in sizes)
    weights = sum(layer.weight.numel() for layer in (block.query_key_value, block.output, block.up, block.down))
    layers = len(net.layers) * (2 * weights * tokens + 4 * net.d_model * squares)
    return 3.0 * (layers + 2 * masked * net.d_model * (net.d_model + net.vocab_size))
