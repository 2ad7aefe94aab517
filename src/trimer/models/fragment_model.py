"""An encoder of peptides with a head for the bonds between residues, which predicts fragment intensities.

Shapes: T tokens of a flat batch, B peptides, L residues of one, S cleavage sites (the sum of L - 1), K channels,
D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.protocols import compile_parts, encoder_of

ACTIVATIONS = ("softplus", "linear")


class Fragments(nn.Module):
    """encoder -> hidden states (T, D) -> both residues of a bond side by side -> (S, K) raw outputs.

    The intensity of a fragment is a function of its raw answer, relative to the highest of the spectrum. activation:
    "softplus", never negative and never without a gradient; "linear", as it is, and at least 0 where it is an answer:
    for an absolute error, whose many zeros would put out anything that flattens towards zero.
    """

    target = "fragments"
    encoder: Any

    def __init__(self, encoder: nn.Module, channels: int, dropout: float = 0.1, activation: str = "softplus"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"task.head.activation={activation} must be one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.encoder = encoder_of(encoder)
        width = self.encoder.d_model
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(2 * width, width)
        self.output = nn.Linear(width, channels)

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder.layers

    @property
    def head_kind(self) -> str:
        """The settings of the head that its weights do not show."""
        return self.activation

    @property
    def head(self) -> nn.ModuleList:
        """The layers that are not in the encoder."""
        return nn.ModuleList([self.dense, self.output])

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states of the encoder, (T, D), for embeddings."""
        return self.encoder.hidden(sequence, layer)

    def forward(self, sequence: Flat) -> Tensor:
        """(S, K), the sites of a peptide from its N terminus on."""
        hidden = self.encoder.hidden(sequence)
        left = sequence.bonds()
        bonds = torch.cat([hidden[left], hidden[left + 1]], 1)
        return self.output(self.dropout(F.gelu(self.dense(self.dropout(bonds)))))

    def activated(self, raw: Tensor) -> Tensor:
        """(S, K) raw outputs as the loss sees them; float32."""
        return F.softplus(raw.float()) if self.activation == "softplus" else raw.float()

    def answers(self, raw: Tensor, sequence: Flat, possible: Tensor) -> Tensor:
        """(S, K) intensities relative to the highest possible one of their spectrum, 0 where they cannot be; float32.

        possible: (S, K) bool.
        """
        intensity = torch.where(possible, self.activated(raw).clamp(min=0), 0.0)
        owner = sequence.bond_owners()
        highest = intensity.new_zeros(sequence.slots).scatter_reduce(0, owner, intensity.amax(1), "amax")
        return intensity / highest.clamp(min=1e-12)[owner, None]

    def compile_parts(self) -> None:
        """Compile the encoder, in place."""
        compile_parts(self.encoder)
