"""Prediction of the fragment intensities of a peptide.

Shapes: B spectra, L residues of a peptide, S cleavage sites of a batch (sum of L - 1), K channels (ion types).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from trimer.data.core.batches import FragmentBatch
from trimer.errors import ConfigError
from trimer.metrics.fragment_metrics import PER_SPECTRUM, per_spectrum, summary
from trimer.models.fragment_model import Fragments
from trimer.tasks.headed import HeadedTask

LOSSES = ("spectral_angle", "absolute")


class SpectrumSimilarity(Metric):
    """Similarities of all spectra of a split, over all devices, and the loss."""

    values: list[Tensor]
    loss: Tensor

    def __init__(self):
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("loss", default=torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, values: Mapping[str, np.ndarray], loss: Tensor, count: Tensor) -> None:
        table = np.stack([values[name] for name in PER_SPECTRUM], 1)
        self.values.append(torch.from_numpy(table).float().to(self.device))
        self.loss += torch.stack([loss.detach().double(), count.double()])

    def compute(self) -> dict[str, float]:
        table = dim_zero_cat(self.values).cpu().numpy()
        loss, count = self.loss.tolist()
        return {"loss": loss / max(count, 1e-9), **summary(dict(zip(PER_SPECTRUM, table.T, strict=True)))}


class FragmentIntensities(HeadedTask):
    """Regression of fragment intensities. Impossible fragments do not enter the loss.

    loss: "spectral_angle", 2 arccos(cos) / pi of each spectrum, independent of its scale; "absolute", the absolute
    error of each intensity relative to the highest of the spectrum. head: arguments of `Fragments` (dropout,
    activation). metrics: get (S, K) predicted and measured intensities; measured ones are -1 for impossible fragments.
    """

    batch = FragmentBatch
    study = "trimer.studies.fragment_study.FragmentStudy"
    outputs = "channels"
    nested_settings: ClassVar = {"head": ("trimer.models.fragment_model.Fragments", ("encoder", "channels"))}

    def __init__(
        self,
        net,
        tokenizer,
        optimizer=None,
        scheduler=None,
        compile: bool = False,
        loss: str = "spectral_angle",
        head: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ):
        super().__init__(net, tokenizer, optimizer, scheduler, compile, metrics)
        if loss not in LOSSES:
            raise ConfigError(f"task.loss={loss} must be one of {', '.join(LOSSES)}")
        self.loss_name, self.head = loss, dict(head or {})
        if loss == "absolute" and self.head.get("activation") != "linear":
            raise ConfigError("task.loss=absolute predicts only zeros unless you set task.head.activation=linear")
        self.similarity = SpectrumSimilarity()

    def configure_for(self, data) -> None:
        """Add the head for the channels of the data."""
        self.attach_head(Fragments(self.net, len(data.classes), **self.head), data)

    def training_step(self, batch: FragmentBatch, batch_idx: int) -> Tensor:
        loss, count = self.loss(self.net(batch.sequence), batch)
        return self.record_loss(loss, count, tokens=batch.real_tokens)

    def loss(self, raw: Tensor, batch: FragmentBatch) -> tuple[Tensor, Tensor]:
        """Sum of the loss and its divisor: spectra with a fragment, or possible fragments."""
        possible = batch.labels >= 0
        measured = torch.where(possible, batch.labels, 0.0)
        predicted = torch.where(possible, self.net.activated(raw), 0.0)
        if self.loss_name == "absolute":  # not normalised: the highest intensity would always be 1
            return torch.where(possible, (predicted - measured).abs(), 0.0).sum(), possible.sum()
        owner = batch.sequence.bond_owners()

        def by_spectrum(values: Tensor) -> Tensor:
            return values.new_zeros(batch.sequence.slots).index_add(0, owner, values.sum(1))

        squares = by_spectrum(predicted**2), by_spectrum(measured**2)
        known = (squares[0] > 0) & (squares[1] > 0)
        scale = torch.where(known, squares[0] * squares[1], 1.0).sqrt()
        cosine = (by_spectrum(predicted * measured) / scale).clamp(-1 + 1e-6, 1 - 1e-6)
        return torch.where(known, 2 * torch.arccos(cosine) / torch.pi, 0.0).sum(), known.sum()

    def validation_step(self, batch: FragmentBatch, batch_idx: int) -> None:
        raw = self.net(batch.sequence)
        predicted = self.net.predictions(raw, batch.sequence, batch.labels >= 0)
        sizes = [size - 3 for size in batch.sequence.sizes]
        real = batch.sequence.real_bonds()
        pairs = predicted.float().cpu().numpy()[real], batch.labels.cpu().numpy()[real]
        self.similarity.update(per_spectrum(*pairs, sizes), *self.loss(raw, batch))
        self.update_metrics(predicted[real], batch.labels[real])

    def predict_step(self, batch: FragmentBatch, batch_idx: int) -> dict[str, Any]:
        """`rows`, and `intensities` (L - 1, K) of each: the highest is 1, those of impossible fragments are 0."""
        predicted = self.net.predictions(self.net(batch.sequence), batch.sequence, batch.labels >= 0)
        sites = [size - 3 for size in batch.sequence.sizes]
        return {"rows": batch.rows, "intensities": list(predicted[batch.sequence.real_bonds()].split(sites))}

    def validation_metrics(self) -> dict[str, float]:
        """The loss as in training, and medians and means over all spectra."""
        values = self.similarity.compute()
        self.similarity.reset()
        return values
