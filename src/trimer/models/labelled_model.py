"""Encoder with a head, for fine-tuning on labels and predicting them.

Shapes: T tokens of a flat batch, B sequences, R residues, D width, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.heads import Head
from trimer.protocols import compile_parts, encoder_of
from trimer.targets import target_of


def check_pooling(head: Mapping[str, Any], target: str) -> None:
    """ConfigError if predictions are per sequence and labels per residue, or the other way round."""
    if target_of(target).by_residue != (head.get("pooling") == "residue"):
        raise ConfigError("task.head.pooling=residue and data.target=residue need each other: set both or neither")


class Labelled(nn.Module):
    """encoder -> hidden states (T, D) -> head -> raw outputs: (B, K) for sequences, (R, K) for residues.

    encoder: a network with `hidden(sequence)`; its other heads are not used.
    target: a word of `trimer.targets`, and `kind` its class. head, features: arguments of `Head`.

    Buffers of shape (K,), unless noted: `mean` and `deviation` of the numbers in the training split, by which a
    regression is standardised; `weight` of each class, or of the positive label, in the loss; `focal`, exponent of the
    focal loss (scalar); `prior`, log frequency of the classes (log odds of the positive label) in the training split as
    weighted by the loss; `temperature` (scalar, or one per label), fitted after training; `threshold` of the
    probabilities (`trimer.metrics.decisions`), chosen by `criterion`; `half_width` of the 90 % interval of a number
    (`trimer.metrics.conformal`), negative before it is calibrated.
    """

    criterion: str | None = None
    encoder: Any
    temperature: Tensor
    mean: Tensor
    deviation: Tensor
    weight: Tensor
    focal: Tensor
    prior: Tensor
    threshold: Tensor
    half_width: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        outputs: int,
        target: str,
        head: Mapping[str, Any] | None = None,
        features: int = 0,
    ):
        super().__init__()
        settings = dict(head or {}) | ({"features": features} if features else {})
        check_pooling(settings, target)
        self.encoder = encoder_of(encoder)
        self.target, self.kind = target, target_of(target)
        self.head = Head(self.encoder.d_model, outputs, **settings)
        self.register_buffer("temperature", torch.ones(outputs if self.kind.yes_or_no else ()))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))
        self.register_buffer("weight", torch.ones(outputs))
        self.register_buffer("focal", torch.zeros(()))
        self.register_buffer("prior", torch.zeros(outputs))
        self.register_buffer("threshold", self.kind.thresholds(torch.ones(outputs)))
        self.register_buffer("half_width", torch.full((outputs,), -1.0))

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder.layers

    @property
    def head_kind(self) -> tuple[str, int]:
        """Pooling and number of features of the head, which its parameters' names do not tell."""
        return self.head.pooling, 0 if self.head.features is None else self.head.features.in_features

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states of the encoder, (T, D), for embeddings."""
        return self.encoder.hidden(sequence, layer)

    def forward(self, sequence: Flat) -> Tensor:
        """Raw outputs: logits, or standardised numbers."""
        return self.head(self.encoder.hidden(sequence), sequence)

    def predictions(self, raw: Tensor, focal: float | None = None) -> Tensor:
        """Probabilities of classes, probabilities of each label, or numbers in the units of the data; float32.

        The effect of class weights and of a focal loss on the probabilities is removed. A higher temperature moves
        them towards the frequencies of the training split, not towards equal probabilities. focal: the exponent as a
        constant of an exported program.
        """
        raw = raw.float()
        if self.kind.numbers:
            return raw * self.deviation + self.mean
        return self.kind.probabilities(self.centred(raw, focal) / self.temperature + self.offset)

    def centred(self, raw: Tensor, focal: float | None = None) -> Tensor:
        """Logits without the effect of the focal loss and minus the prior; the temperature divides these."""
        exponent = float(self.focal) if focal is None else focal
        return without_focal(raw, exponent, self.kind.yes_or_no) - self.prior

    @property
    def thresholds(self) -> np.ndarray:
        """(K,) `threshold`, for `trimer.metrics.decisions`."""
        return self.threshold.float().cpu().numpy().copy()

    @property
    def half_widths(self) -> np.ndarray | None:
        """(K,) `half_width`, NaN for a label without one; None for classes and before the calibration."""
        values = self.half_width.double().cpu().numpy()
        values = np.where(values < 0, np.nan, values)
        return values if self.kind.numbers and not np.isnan(values).all() else None

    @property
    def offset(self) -> Tensor:
        """Prior without the class weights, added to the logits after division by the temperature."""
        return self.prior.float() - self.weight.float().log()

    def complete(self, state: dict[str, Tensor], prefix: str = "") -> None:
        """Add buffers that the state of an older checkpoint lacks, with their values in this model."""
        for name in ("weight", "focal", "prior", "threshold", "half_width"):
            state.setdefault(prefix + name, getattr(self, name))
        temperature = state.get(prefix + "temperature")
        if temperature is not None and temperature.ndim == 0:
            state[prefix + "temperature"] = temperature.expand(self.temperature.shape).clone()

    def _load_from_state_dict(self, state_dict, prefix, *others) -> None:
        self.complete(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def compile_parts(self) -> None:
        """Compile the encoder in place."""
        compile_parts(self.encoder)


def without_focal(raw: Tensor, exponent: float, yes_or_no: bool) -> Tensor:
    """Logits of the true class probabilities, from logits that minimise a focal loss, in closed form.

    With phi(p) = -(1 - p)^exponent log p, the true probabilities are proportional to -1 / phi'(p) (Charoenphakdee et
    al., CVPR 2021). yes_or_no: raw holds one logit per label, otherwise one per class. An exponent of 0 returns raw.
    """
    if exponent == 0:
        return raw
    wide = raw.double().clamp(-500, 500)
    if yes_or_no:
        yes, no = torch.nn.functional.logsigmoid(wide), torch.nn.functional.logsigmoid(-wide)
        return (_log_slope(no, yes, exponent) - _log_slope(yes, no, exponent)).float()
    log_p = torch.log_softmax(wide, -1)
    log_rest = torch.log1p(-log_p.exp().clamp(max=1 - 1e-15))
    return -_log_slope(log_p, log_rest, exponent).float()


def _log_slope(log_p: Tensor, log_rest: Tensor, exponent: float) -> Tensor:
    """log(-phi'(p)) from log p and log(1 - p)."""
    return (exponent - 1) * log_rest + torch.log(torch.exp(log_rest - log_p) - exponent * log_p)
