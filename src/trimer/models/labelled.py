"""An encoder with a head: what is fine-tuned, and what predicts labels.

Shapes: T tokens of a flat batch, B sequences, R residues, D width, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.heads import Head


def check_pooling(head: Mapping[str, Any], target: str) -> None:
    """ConfigError where the answers would be for sequences and the labels for residues, or the other way round."""
    if (target == "residue") != (head.get("pooling") == "residue"):
        raise ConfigError("task.head.pooling=residue goes with data.target=residue, and with no other")


class Labelled(nn.Module):
    """encoder -> hidden states (T, D) -> head -> raw answers: (B, K) for sequences, (R, K) for residues.

    encoder: a network with `hidden(sequence)`; of one that also writes or finds tokens, what reads is taken (`alone`).
    target: "single", "multi", "regression" or "residue". head: arguments of `Head`. Buffers: `temperature`, what raw
    answers are divided by, from a calibration; `mean` and `deviation` of the numbers in the training part, in whose
    units a regression works.
    """

    def __init__(self, encoder: nn.Module, outputs: int, target: str, head: Mapping[str, Any] | None = None):
        super().__init__()
        settings = dict(head or {})
        check_pooling(settings, target)
        self.encoder = encoder.alone()
        self.target = target
        self.head = Head(self.encoder.d_model, outputs, **settings)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder.layers

    @property
    def head_kind(self) -> str:
        """What a head is beside its weights."""
        return self.head.pooling

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states of the encoder, (T, D), for embeddings."""
        return self.encoder.hidden(sequence, layer)

    def forward(self, sequence: Flat) -> Tensor:
        """Raw answers: logits, or numbers in units of the deviation."""
        return self.head(self.encoder.hidden(sequence), sequence)

    def answers(self, raw: Tensor) -> Tensor:
        """Probabilities of the classes, of yes for each label, or numbers in the units of the data; float32."""
        raw = raw.float()
        if self.target == "regression":
            return raw * self.deviation + self.mean
        raw = raw / self.temperature
        return torch.sigmoid(raw) if self.target == "multi" else torch.softmax(raw, -1)

    def compile_parts(self) -> None:
        """Compile what the encoder does token by token, in place."""
        self.encoder.compile_parts()
