"""Fine-tuning of an encoder on labels: its head, trainable weights and learning rates.

Shapes: B sequences, K outputs, C classes, R residues.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from trimer.checkpoint import Loaded
from trimer.data.core.batches import LabelledBatch
from trimer.data.labelled.molecule_features import statistics, width
from trimer.errors import ConfigError
from trimer.models.heads import Head
from trimer.models.labelled_model import Labelled, check_pooling
from trimer.models.lora import add_lora, check_installed
from trimer.optim import depth_scales, parameter_groups, weight_decay
from trimer.tasks.headed import HeadedTask


class CollectedOutputs(Metric):
    """Raw outputs and labels of a whole split, from all devices."""

    raw: list[Tensor]
    labels: list[Tensor]

    def __init__(self):
        super().__init__()
        self.add_state("raw", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, raw: Tensor, labels: Tensor) -> None:
        self.raw.append(raw.detach().float())
        self.labels.append(labels)

    def compute(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(self.raw), dim_zero_cat(self.labels)


class LabelTask(HeadedTask):
    """An encoder with a head for the labels of the data.

    head: arguments of `Head` (pooling, dense, dropout). lora: arguments of `add_lora`, or null to train all weights.
    freeze: number of first blocks to freeze, together with the embeddings; -1 freezes the whole encoder.
    layer_decay: learning rate of a block as a fraction of that of the next one.
    metrics: get predictions and labels from `known`.
    """

    batch = LabelledBatch
    study = "trimer.studies.label_study.LabelStudy"
    nested_settings: ClassVar = {
        "head": ("trimer.models.heads.Head", ("d_model", "outputs")),
        "lora": ("trimer.models.lora.add_lora", ("encoder",)),
    }
    targets: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        net: nn.Module,
        tokenizer,
        optimizer=None,
        scheduler=None,
        compile: bool = False,
        head: Mapping[str, Any] | None = None,
        lora: Mapping[str, Any] | None = None,
        freeze: int = 0,
        layer_decay: float = 1.0,
        metrics: Mapping[str, Metric] | None = None,
    ):
        super().__init__(net, tokenizer, optimizer, scheduler, compile, metrics)
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"task.layer_decay={layer_decay} must be above 0 and at most 1")
        if lora:
            check_installed()
        if lora and freeze:
            raise ConfigError("task.lora already freezes the encoder: set task.freeze=0")
        self.head, self.lora, self.freeze_blocks, self.layer_decay = head, lora, freeze, layer_decay
        self.collected = CollectedOutputs()

    def check_parts(self, data) -> None:
        """Also check the kind of labels, the head, and the number of frozen blocks."""
        super().check_parts(data)
        if not hasattr(self.net, "layers") and (self.freeze_blocks not in (0, -1) or self.layer_decay != 1.0):
            raise ConfigError(
                f"task.freeze and task.layer_decay count blocks, and model={type(self.net).__name__} has no `layers`: "
                "set task.freeze to 0 or -1 and task.layer_decay to 1"
            )
        blocks = len(getattr(self.net, "layers", ()))
        if not -1 <= self.freeze_blocks <= blocks:
            raise ConfigError(
                f"task.freeze={self.freeze_blocks} must be -1 (all) or 0 to {blocks}, the number of blocks"
            )
        if data.target not in self.targets:
            raise ConfigError(
                f"task={type(self).__name__} learns {' and '.join(self.targets)} labels, but data.target={data.target}"
            )
        check_pooling(self.head or {}, data.target)
        with torch.device("meta"):
            Head(self.net.d_model, 1, **(self.head or {}))  # for its errors

    def configure_for(self, data) -> None:
        """Add the head, freeze blocks, and compute statistics of the training labels for the loss."""
        encoder = self.net
        names = list(getattr(data, "features", ()))
        headed = Labelled(encoder, len(data.classes), data.target, self.head, width(names))
        if names:
            mean, deviation = statistics(data.texts(data.split.rows("train")), names)
            headed.head.feature_mean.copy_(torch.from_numpy(mean))
            headed.head.feature_deviation.copy_(torch.from_numpy(deviation))
            if self.contract is not None and "data" in self.contract:
                # All names, so that the input does not follow the version of RDKit.
                self.contract["data"] = {**self.contract["data"], "features": names}
        self.attach_head(headed, data)
        if self.lora:
            self.lora_layers = add_lora(encoder, **self.lora)
        self.freeze_encoder(encoder)
        self.classes = list(data.classes)
        self.configure_loss(data)

    def freeze_encoder(self, encoder: Any) -> None:
        """Freeze the weights of the first blocks and the embeddings, or of the whole encoder."""
        if not self.freeze_blocks:
            return
        trained_blocks = encoder.layers[self.freeze_blocks :] if self.freeze_blocks > 0 else []
        trained = {id(parameter) for block in trained_blocks for parameter in block.parameters()}
        norm = getattr(encoder, "norm", None)
        trained |= (
            {id(parameter) for parameter in norm.parameters()} if norm is not None and len(trained_blocks) else set()
        )
        for parameter in encoder.parameters():
            parameter.requires_grad = id(parameter) in trained

    def configure_loss(self, data) -> None:
        """Compute statistics of the training split for the loss."""

    def configure_optimizers(self):
        if not isinstance(self.net, Labelled) or self.layer_decay == 1.0:
            return super().configure_optimizers()
        groups = parameter_groups(
            self.net, weight_decay(self.optimizer_factory), depth_scales(self.net, self.layer_decay)
        )
        optimizer = self.optimizer_factory(groups)
        for group in optimizer.param_groups:  # some groups of Muon have a different rate
            group["lr"] *= group["scale"]
        return self.with_schedule(optimizer)

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        loss, count = self.loss(self.net(batch.sequence).float(), batch.labels)
        return self.record_loss(loss, count, tokens=batch.real_tokens)

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        raw = self.net(batch.sequence)
        self.collected.update(raw, batch.labels)
        if self.metrics:
            self.update_metrics(*self.known(self.net.predictions(raw), batch.labels))

    def known(self, predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions and labels for the metrics of the user, without missing labels where possible.

        Classes: (n, C) probabilities and (n,) class numbers. Otherwise (n, K) of both, or (n,) for a single label; with
        several labels, missing numbers are NaN and missing yes-or-no labels -100.
        """
        if labels.ndim == 1:
            return predictions[labels >= 0], labels[labels >= 0]
        if labels.shape[1] == 1:
            has_label = ~torch.isnan(labels[:, 0])
            predictions, labels = predictions[has_label, 0], labels[has_label, 0]
        if self.net.kind.yes_or_no:
            labels = torch.where(torch.isnan(labels), -100.0, labels).long()
        return predictions, labels

    def predict_step(self, batch: LabelledBatch, batch_idx: int) -> dict[str, Any]:
        """`rows`, and `predictions`: probabilities or numbers, (B, K), or a list of (L, C) by residue."""
        predictions = self.net.predictions(self.net(batch.sequence))
        if self.net.kind.by_residue:
            predictions = list(predictions.split(self.net.kind.outputs_of(batch.sequence.sizes)))
        return {"rows": batch.rows, "predictions": predictions}

    def restore(self, loaded: Loaded) -> None:
        """Also restore the labels and the frozen weights."""
        super().restore(loaded)
        self.classes = list(loaded.contract["labels"]["classes"])
        self.freeze_encoder(self.net.encoder)

    def validation_metrics(self) -> dict[str, float]:
        """The loss as in training, and the metrics of the whole split."""
        raw, labels = self.collected.compute()
        self.collected.reset()
        raw = raw.reshape(-1, len(self.classes))  # torchmetrics turns a single number into a scalar
        labels = labels.reshape(raw.shape if labels.is_floating_point() else -1)
        loss, count = self.loss(raw, labels)
        return {"loss": float(loss / torch.clamp(count, min=1e-9)), **self.measure(raw, labels)}

    def property_of(self, data) -> str:
        """The name of the label, if there is only one."""
        return data.classes[0] if len(data.classes) == 1 else super().property_of(data)

    def loss(self, raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the loss and its divisor."""
        raise NotImplementedError

    def measure(self, raw: Tensor, labels: Tensor) -> dict[str, float]:
        """The defined metrics of a split."""
        kind, thresholds = self.net.kind, self.net.thresholds
        known = kind.known(labels)
        predictions, true = self.net.predictions(raw)[known].cpu().numpy(), labels[known].cpu().numpy()
        return kind.measure(predictions, true, self.classes, thresholds=thresholds, bootstrap=0).defined
