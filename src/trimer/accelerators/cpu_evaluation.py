"""Evaluations during a training on a TPU, whose batches have other shapes than those of the training.

An XLA device compiles a program for each shape: one for each batch, or for each token of a generated molecule. So a
copy of the network computes them on the CPU.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn
from torchmetrics import Metric

from trimer.accelerators.stacks import XLA_TYPES

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@contextmanager
def any_shapes(task: Any) -> Iterator[None]:
    """Context in which a task computes batches of any shape: on an XLA device, by a copy of its network on the CPU."""
    if task.device.type not in XLA_TYPES:
        yield
        return
    net, buffers = task.net, dict(task._buffers)
    # Those with an update hold a validation in progress, which reads them later.
    metrics = [module for module in task.modules() if isinstance(module, Metric) and not module.update_called]
    task.net = cpu_copy(net)
    task._buffers |= {name: value.cpu() for name, value in buffers.items() if value is not None}
    for metric in metrics:
        metric.to("cpu")
    try:
        yield
    finally:
        task.net = net
        task._buffers |= buffers
        for metric in metrics:
            metric.to(task.device)
            metric.reset()  # to tensors that were never copied, as before the first validation


def cpu_copy(net: nn.Module) -> nn.Module:
    """A copy of a network on the CPU, without its hooks. Its weights never take memory on the device again."""
    memo: dict[int, Any] = {}
    for tensor in chain(net.parameters(), net.buffers()):
        copied: torch.Tensor = tensor.detach().cpu()
        memo[id(tensor)] = nn.Parameter(copied, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copied
    for module in net.modules():
        memo |= {id(getattr(module, name)): OrderedDict() for name in HOOKS}
    return copy.deepcopy(net, memo)
