"""Prediction of numbers for sequences, standardised by the training split."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.errors import ConfigError
from trimer.tasks.labelled import LabelTask

ERRORS = ("squared", "absolute", "huber")


class Regression(LabelTask):
    """Squared, absolute or Huber error of numbers, standardised by mean and deviation of the training split.

    error: "squared", "absolute" or "huber". Missing numbers do not enter the loss.
    """

    targets = ("regression",)

    def __init__(
        self,
        net,
        tokenizer,
        optimizer=None,
        scheduler=None,
        compile: bool = False,
        head=None,
        lora=None,
        freeze: int = 0,
        layer_decay: float = 1.0,
        error: str = "squared",
        metrics=None,
    ):
        super().__init__(net, tokenizer, optimizer, scheduler, compile, head, lora, freeze, layer_decay, metrics)
        if error not in ERRORS:
            raise ConfigError(f"task.error={error} must be one of {', '.join(ERRORS)}")
        self.error = error

    def configure_loss(self, data) -> None:
        """Compute mean and standard deviation of the training split, and store them in the network."""
        labels = data.training_labels().double()
        known = ~torch.isnan(labels)
        count = known.sum(0).clamp(min=1)
        mean = torch.where(known, labels, 0.0).sum(0) / count
        variance = torch.where(known, (labels - mean) ** 2, 0.0).sum(0) / count
        self.net.mean.copy_(mean)
        self.net.deviation.copy_(torch.where(variance > 0, variance.sqrt(), 1.0))

    def loss(self, raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the errors, and number of labels."""
        known = ~torch.isnan(labels)
        target = torch.where(known, (labels - self.net.mean) / self.net.deviation, raw.detach())
        losses: dict[str, Callable[..., Tensor]]
        losses = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}
        return losses[self.error](raw, target, reduction="sum"), known.sum()
