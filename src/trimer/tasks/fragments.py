"""Predict the intensities of the fragments of a peptide.

Shapes: B spectra, S cleavage sites of all of them, K channels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.checkpoint import Loaded, copy_weights
from trimer.data.batches import FragmentBatch
from trimer.errors import ConfigError
from trimer.metrics.fragments import per_spectrum, summary
from trimer.models.fragments import Fragments, owners
from trimer.tasks.task import Task

log = logging.getLogger(__name__)

LOSSES = ("spectral_angle", "absolute")


class FragmentIntensities(Task):
    """Intensities by their spectral angle, or by their absolute error; what a peptide cannot give counts nowhere.

    loss: "spectral_angle", 2 arccos(cos) / pi of each spectrum, whatever its scale; "absolute", of intensities relative
    to the highest, by cell. head: arguments of `Fragments` (dropout).
    """

    batch = FragmentBatch
    uses = ("hidden", "layers")

    def __init__(
        self,
        net,
        tokenizer,
        optimizer=None,
        scheduler=None,
        compile: bool = False,
        loss: str = "spectral_angle",
        head: Mapping[str, Any] | None = None,
    ):
        super().__init__(net.alone(), tokenizer, optimizer, scheduler, compile)
        if loss not in LOSSES:
            raise ConfigError(f"task.loss={loss} must be one of {', '.join(LOSSES)}")
        self.loss_name, self.head = loss, dict(head or {})
        self.learnt: Loaded | None = None
        self._found: list[tuple[np.ndarray, np.ndarray, list[int]]] = []
        self._loss = np.zeros(2)

    def begin_with(self, learnt: Loaded) -> None:
        """Take the encoder of a fine-tuned network; its head too, where the channels are the same."""
        copy_weights(self.net, learnt.net.encoder.state_dict(), learnt.path)
        self.learnt = learnt

    def meet(self, data) -> None:
        """Put the head on."""
        self.net = Fragments(self.net, len(data.classes), **self.head)
        self.contract["labels"] = {"target": data.target, "classes": list(data.classes)}
        if self.learnt is None:
            return
        if self.learnt.contract["labels"] == self.contract["labels"]:
            self.net.head.load_state_dict(self.learnt.net.head.state_dict())
            log.info("the encoder of %s goes on, with its head: the channels are the same", self.learnt.path)
        else:
            log.info("the encoder of %s goes on, with a new head: it has learnt other fragments", self.learnt.path)
        self.learnt = None

    def training_step(self, batch: FragmentBatch, batch_idx: int) -> Tensor:
        loss, count = self.loss(self.net(batch.sequence), batch)
        return self.scaled(loss, count, tokens=batch.real_tokens)

    def loss(self, raw: Tensor, batch: FragmentBatch) -> tuple[Tensor, Tensor]:
        """Sum of the loss, and what it is divided by: spectra with a fragment, or possible cells."""
        possible = batch.labels >= 0
        measured = torch.where(possible, batch.labels, 0.0)
        if self.loss_name == "absolute":
            said = self.net.answers(raw, batch.sequence, possible)
            return torch.where(possible, (said - measured).abs(), 0.0).sum(), possible.sum()
        said = torch.where(possible, F.softplus(raw.float()), 0.0)
        owner = owners(batch.sequence)

        def by_spectrum(values: Tensor) -> Tensor:
            return values.new_zeros(len(batch)).index_add(0, owner, values.sum(1))

        lengths = by_spectrum(said**2), by_spectrum(measured**2)
        known = (lengths[0] > 0) & (lengths[1] > 0)
        scale = torch.where(known, lengths[0] * lengths[1], 1.0).sqrt()
        cosine = (by_spectrum(said * measured) / scale).clamp(-1 + 1e-6, 1 - 1e-6)
        return torch.where(known, 2 * torch.arccos(cosine) / torch.pi, 0.0).sum(), known.sum()

    def validation_step(self, batch: FragmentBatch, batch_idx: int) -> None:
        raw = self.net(batch.sequence)
        loss, count = self.loss(raw, batch)
        self._loss += [float(loss), float(count)]
        said = self.net.answers(raw, batch.sequence, batch.labels >= 0).cpu().numpy()
        self._found.append((said, batch.labels.cpu().numpy(), [size - 3 for size in batch.sequence.sizes]))

    def on_validation_epoch_end(self) -> None:
        """The loss as in training, and the metrics over all spectra."""
        self.log_validation({"loss": self._loss[0] / max(self._loss[1], 1e-9), **self.measure()})
        self._found, self._loss = [], np.zeros(2)

    def measure(self) -> dict[str, float]:
        """Medians and means over the spectra of this validation."""
        said, measured = (np.concatenate([part[i] for part in self._found]) for i in (0, 1))
        return summary(per_spectrum(said, measured, [size for part in self._found for size in part[2]]))
