"""The summed cross-entropy of predicted tokens, at once or in chunks of tokens."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.data.core.batches import MISSING
from trimer.errors import ConfigError


def token_loss(
    net: Any, inputs: tuple[Any, ...], labels: Tensor, chunked: bool | None, label_smoothing: float = 0.0
) -> Tensor:
    """Sum of the cross-entropy of the tokens that a network predicts from these inputs.

    labels: (N,) token ids, MISSING where none is predicted. chunked: see `chunked_loss`.
    """
    if chunked:
        return net(*inputs, score=partial(chunked_loss, labels=labels))
    return F.cross_entropy(net(*inputs).float(), labels, reduction="sum", label_smoothing=label_smoothing)


def chunked_loss(features: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """The loss without the scores of all tokens (N, V) in memory: they are computed for one chunk of tokens at a time.

    features: (N, D), weight: (V, D), bias: (V,) of the last layer. Products have the dtype of autocast, sums are fp32.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    if not len(labels):  # zero, and every weight has a gradient
        return F.cross_entropy(F.linear(features, weight, bias).float(), labels, reduction="sum")
    with torch.autocast(kind, enabled=False):
        return F.linear_cross_entropy(
            features.to(dtype),
            weight.to(dtype),
            labels,
            linear_bias=None if bias is None else bias.to(dtype),
            reduction="sum",
            ignore_index=MISSING,
            options=torch.nn.LinearCrossEntropyOptions(),
        ).float()


def check_chunked_loss(chunked: bool | None, net: Any, label_smoothing: float = 0.0) -> None:
    """ConfigError if the loss should be computed in chunks, and torch, the model or label smoothing do not allow it."""
    if not chunked:
        return
    if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        raise ConfigError(f"task.chunked_loss=true needs torch 2.13 or later, and {torch.__version__} is installed")
    if label_smoothing:
        raise ConfigError(
            f"task.chunked_loss=true does not work with task.label_smoothing={label_smoothing}: set it to 0"
        )
    if "score" not in inspect.signature(net.forward).parameters:
        raise ConfigError(
            f"task.chunked_loss=true: forward of model={type(net).__name__} has no argument score: leave it out"
        )
