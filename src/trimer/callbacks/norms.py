"""Norms of gradients and parameters, which show a training that is about to diverge before its loss does."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from trimer.accelerators.stacks import XLA_TYPES


class Norms(L.Callback):
    """Logs `gradient_norm` and `parameter_norm` (Euclidean, over all trained weights) at every logging step.

    The gradient is that of the mean loss of the whole optimizer step, before clipping. Nothing is computed at other
    steps, and on XLA devices never, where it would compile a second program.
    """

    def __init__(self) -> None:
        self._gradient: Tensor | None = None

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: torch.optim.Optimizer) -> None:
        due = (trainer.global_step + 1) % trainer.log_every_n_steps == 0 and module.device.type not in XLA_TYPES
        self._gradient = norm([p.grad for p in module.net.parameters() if p.grad is not None]) if due else None

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._gradient is None or trainer.fit_loop.epoch_loop._should_accumulate():
            return
        # Until here the gradient was that of the sum of the loss: the task divides it after this callback.
        gradient = float(self._gradient * module.gradient_factor)
        self._gradient = None
        weights = norm([p.detach() for p in module.net.parameters() if p.requires_grad])
        module.log_dict({"gradient_norm": gradient, "parameter_norm": float(weights)}, batch_size=1)


def norm(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm of all values, over all devices if they are sharded."""
    if not tensors:
        return torch.zeros(())
    total: Any = torch.nn.utils.get_total_norm([tensor.detach() for tensor in tensors])
    return total.full_tensor() if hasattr(total, "full_tensor") else total
