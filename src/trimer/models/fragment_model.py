"""Encoder of peptides with a head for peptide bonds, which predicts the intensities of fragment ions.

Shapes: T tokens of a flat batch, B peptides, L residues of a peptide, S cleavage sites (sum of L - 1), K channels
(ion types), D width.
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
    """encoder -> hidden states (T, D) -> both residues of each bond, concatenated -> (S, K) raw outputs.

    An intensity is the activation of the raw output, relative to the highest intensity of the spectrum. activation:
    "softplus" is never negative and always has a gradient; "linear" is the raw output, clipped at 0 in predictions.
    Use "linear" for an absolute error: the many zeros in the data would drive softplus to where its gradient vanishes.
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
        """Hyper-parameters of the head that cannot be inferred from weight shapes."""
        return self.activation

    @property
    def head(self) -> nn.ModuleList:
        """The layers outside the encoder."""
        return nn.ModuleList([self.dense, self.output])

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states of the encoder, (T, D), for embeddings."""
        return self.encoder.hidden(sequence, layer)

    def forward(self, sequence: Flat) -> Tensor:
        """(S, K) raw outputs; the sites of a peptide are ordered from its N terminus."""
        hidden = self.encoder.hidden(sequence)
        left = sequence.bonds()
        return self.of_bonds(hidden[left], hidden[left + 1])

    def of_bonds(self, left: Tensor, right: Tensor) -> Tensor:
        """(..., K) raw outputs of bonds, from the hidden states (..., D) of the residues before and after each."""
        bonds = torch.cat([left, right], -1)
        return self.output(self.dropout(F.gelu(self.dense(self.dropout(bonds)))))

    def activated(self, raw: Tensor) -> Tensor:
        """(S, K) activation of the raw outputs, for the loss; float32."""
        return F.softplus(raw.float()) if self.activation == "softplus" else raw.float()

    def predictions(self, raw: Tensor, sequence: Flat, possible: Tensor) -> Tensor:
        """(S, K) intensities relative to the highest one of their spectrum, 0 for impossible fragments; float32.

        possible: (S, K) bool, whether the fragment can exist.
        """
        intensity = torch.where(possible, self.activated(raw).clamp(min=0), 0.0)
        owner = sequence.bond_owners()
        highest = intensity.new_zeros(sequence.slots).scatter_reduce(0, owner, intensity.amax(1), "amax")
        return intensity / highest.clamp(min=1e-12)[owner, None]

    def compile_parts(self) -> None:
        """Compile the encoder in place."""
        compile_parts(self.encoder)
