"""Floating-point operations of an encoder, for throughput as a share of the peak of the device."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def encoder_training_flops(net: nn.Module, sizes: Sequence[int], places: int) -> float:
    """Floating-point operations of the products of one training pass, forward and backward, nothing computed twice.

    net: with `layers` that have query_key_value, output, up and down. sizes: B lengths. places: M, where the head is
    asked.
    """
    block = net.layers[0]
    tokens, squares = sum(sizes), sum(length * length for length in sizes)
    weights = sum(layer.weight.numel() for layer in (block.query_key_value, block.output, block.up, block.down))
    layers = len(net.layers) * (2 * weights * tokens + 4 * net.d_model * squares)
    return 3.0 * (layers + 2 * places * net.d_model * (net.d_model + net.vocab_size))
