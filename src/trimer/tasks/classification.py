"""Classification of sequences or residues, or prediction of several yes-or-no labels of a sequence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.checkpoint import Loaded
from trimer.errors import ConfigError
from trimer.metrics.decisions import CRITERIA
from trimer.targets import UNLABELLED
from trimer.tasks.labelled import LabelTask

WEIGHTS = ("balanced",)


class Classification(LabelTask):
    """Cross-entropy over classes, or binary cross-entropy for each yes-or-no label.

    class_weights: "balanced" weights a class by n / (C n_c) and the positive cases of a label by n_no / n_yes, counted
    in the training split; null weights all equally. label_smoothing: fraction of the probability that is spread evenly
    over all classes. focal: exponent of the focal loss (Lin et al. 2017), 0 for none. The loss of a step is the
    weighted sum divided by the sum of the weights, for any division of the step into batches. Missing labels do not
    enter the loss. Predicted probabilities are free of the effect of weights and focal loss. threshold: "mcc" or "f1",
    the criterion by which the thresholds of yes-or-no labels and of weighted classes are chosen on the validation split
    after training; null keeps those of the loss, which are used during training.
    """

    targets = ("single", "multi", "residue")
    weights: Tensor | None  # of the classes in the loss

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
        class_weights: str | None = None,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        threshold: str | None = "mcc",
        metrics=None,
    ):
        super().__init__(net, tokenizer, optimizer, scheduler, compile, head, lora, freeze, layer_decay, metrics)
        if class_weights is not None and class_weights not in WEIGHTS:
            raise ConfigError(f"task.class_weights={class_weights} must be balanced or null")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"task.label_smoothing={label_smoothing} must be at least 0 and below 1")
        if focal < 0:
            raise ConfigError(f"task.focal={focal} must be 0 or more")
        if threshold is not None and threshold not in CRITERIA:
            raise ConfigError(f"task.threshold={threshold} must be one of {', '.join(CRITERIA)}, or null")
        self.class_weights, self.label_smoothing, self.focal = class_weights, label_smoothing, focal
        self.register_buffer("weights", None, persistent=False)

    def configure_loss(self, data) -> None:
        """Compute class weights and prior from the training split, and store them in the network."""
        labels = data.training_labels()
        weights = torch.ones(len(data.classes))
        if self.class_weights == "balanced":
            self.weights = weights = balanced_weights(labels, len(data.classes))
        self.net.weight.copy_(weights)
        self.net.focal.fill_(self.focal)
        self.net.prior.copy_(weighted_prior(labels, weights))
        self.net.threshold.copy_(self.net.kind.thresholds(weights))

    def restore(self, loaded: Loaded) -> None:
        """Also restore the class weights of the loss."""
        super().restore(loaded)
        if self.class_weights is not None:
            self.weights = self.net.weight.clone()

    def loss(self, raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of the loss, and sum of the weights."""
        if labels.is_floating_point():
            return self._yes_or_no_loss(raw, labels)
        known = labels != UNLABELLED
        labels = labels.clamp(min=0)
        losses = F.cross_entropy(raw, labels, reduction="none", label_smoothing=self.label_smoothing)
        if self.focal:
            probability = torch.softmax(raw, -1).gather(1, labels[:, None]).squeeze(1)
            losses = losses * complement(probability) ** self.focal
        weight = known.to(losses.dtype) if self.weights is None else self.weights[labels] * known
        return (losses * weight).sum(), weight.sum()

    def _yes_or_no_loss(self, raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        known = ~torch.isnan(labels)
        true = torch.where(known, labels, 0.0)
        target = true * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(raw, target, reduction="none")
        if self.focal:
            probability = torch.sigmoid(torch.where(true > 0.5, raw, -raw))
            losses = losses * complement(probability) ** self.focal
        weight = known.to(losses.dtype)
        if self.weights is not None:
            weight = weight * torch.where(true > 0.5, self.weights, 1.0)
        return (losses * weight).sum(), weight.sum()


def complement(probability: Tensor) -> Tensor:
    """1 - probability; never exactly 0, where a power below 1 has no gradient."""
    return (1 - probability).clamp(min=torch.finfo(probability.dtype).eps)


def balanced_weights(labels: Tensor, outputs: int) -> Tensor:
    """(outputs,) weights of classes, or of the positive cases of each label; 1 if the training split has none."""
    if labels.is_floating_point():
        yes, no = (labels == 1).sum(0).float(), (labels == 0).sum(0).float()
        return torch.where((yes > 0) & (no > 0), no / yes.clamp(min=1), 1.0)
    counts = torch.bincount(labels[labels != UNLABELLED], minlength=outputs).float()
    return torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 1.0)


def weighted_prior(labels: Tensor, weights: Tensor) -> Tensor:
    """(outputs,) weighted log frequency of the classes, or weighted log odds of yes, in the training split.

    Half a label is added to each count, so that classes without a training example are rare but not impossible.
    """
    if labels.is_floating_point():
        yes, no = (labels == 1).sum(0) + 0.5, (labels == 0).sum(0) + 0.5
        return (weights * yes / no).log()
    counts = weights * (torch.bincount(labels[labels != UNLABELLED], minlength=len(weights)) + 0.5)
    return (counts / counts.sum()).log()
