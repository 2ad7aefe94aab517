"""Predict numbers for sequences, scaled by the standard deviation of the training split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.errors import ConfigError
from trimer.metrics.label_metrics import regression
from trimer.tasks.labelled import LabelTask

ERRORS = ("squared", "absolute", "huber")


class Regression(LabelTask):
    """Squared, absolute or Huber error of numbers that are scaled by mean and deviation of the training split.

    Missing numbers do not enter the loss.
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
        labels = data.training_labels().double()
        known = ~torch.isnan(labels)
        count = known.sum(0).clamp(min=1)
        mean = torch.where(known, labels, 0.0).sum(0) / count
        variance = torch.where(known, (labels - mean) ** 2, 0.0).sum(0) / count
        self.net.mean.copy_(mean)
        self.net.deviation.copy_(torch.where(variance > 0, variance.sqrt(), 1.0))

    def loss(self, raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        known = ~torch.isnan(labels)
        aim = torch.where(known, (labels - self.net.mean) / self.net.deviation, raw.detach())
        of_error = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}[self.error]
        return of_error(raw, aim, reduction="sum"), known.sum()

    def measure(self, raw: Tensor, labels: Tensor) -> dict[str, float]:
        predictions = self.net.answers(raw).cpu().numpy()
        return regression(predictions, labels.cpu().numpy(), self.classes, bootstrap=0).defined
