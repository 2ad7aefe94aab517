"""Models of flat batches as networks of padded rows, for programs that expect a rectangle of ids and a mask.

Rows are padded on the right. A row is computed as in a static batch (`trimer.flat.StaticFlat`), so padding changes
nothing.

Shapes: B rows, L tokens in a row, D width, K outputs or channels of fragments, E elements, C conditions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.flat import Static, StaticFlat, StaticPeptides
from trimer.models.fragment_model import Fragments
from trimer.models.heads import mean_of_inner
from trimer.models.labelled_model import Labelled
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.peptides.conditions import CONDITIONS
from trimer.peptides.modifications import ELEMENTS


class Padded(nn.Module):
    """An encoder, or an encoder with a head, over padded rows.

    Inputs: `input_ids` (B, L) int64; `attention_mask` (B, L) int64, 1 for tokens and 0 for padding on the right; of
    peptides also `composition` (B, L, E), the atoms that modifications add to each token; of an encoder that uses the
    conditions of a measurement also `conditions` (B, C); of fragments `possible` (B, L, K) int64, 1 for fragments that
    a peptide can form (`trimer.peptides.channels.possible`).

    Outputs of an encoder: `sequence_embedding` (B, D), the mean over all tokens except the first and the last, and
    `hidden_states` (B, L, D). Of a model with a head: `predictions`, (B, K) or by residue (B, L, K): probabilities of
    classes or labels, or numbers in the units of the data. Of fragments: `intensities` (B, L, K) relative to the
    highest of a row; position i is the bond between the residues i and i + 1, numbered from 1. Values at padding, and
    of other positions and fragments, are 0.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net: Any = net
        self.labelled = isinstance(net, Labelled)
        self.channels = net.output.out_features if isinstance(net, Fragments) else 0
        encoder: Any = net.encoder if isinstance(net, Labelled | Fragments) else net
        if not callable(getattr(net, "hidden", None)) or hasattr(net, "decode"):
            raise ConfigError(
                f"model={type(net).__name__} is not an encoder, alone or with a head for labels or fragments: use "
                "format=safetensors"
            )
        if getattr(encoder, "body", None) == "recurrent":
            raise ConfigError("model.body=recurrent cannot be exported over padded rows: use format=safetensors")
        self.peptides = isinstance(encoder, PeptideEncoder)
        self.with_conditions = getattr(encoder, "conditions", None) is not None
        self.vocab_size, self.longest = encoder.vocab_size, getattr(encoder, "longest", None)
        self.focal = float(net.focal) if isinstance(net, Labelled) else 0.0  # a constant of the exported program

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, in order."""
        further = {
            "composition": self.peptides, "conditions": self.with_conditions, "possible": self.channels > 0
        }  # fmt: skip
        return ["input_ids", "attention_mask", *(name for name, used in further.items() if used)]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        if self.channels:
            return ["intensities"]
        return ["predictions"] if self.labelled else ["sequence_embedding", "hidden_states"]

    def example(self, rows: int = 2, length: int = 7) -> tuple[Tensor, ...]:
        """Inputs of valid shapes: random ids, the last row 2 tokens shorter."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(4, min(self.vocab_size, 24), (rows, length), generator=generator)
        mask = torch.ones(rows, length, dtype=torch.int64)
        mask[-1, length - 2 :] = 0
        values = [ids, mask]
        if self.peptides:
            values.append(torch.zeros(rows, length, len(ELEMENTS)))
        if self.with_conditions:
            values.append(torch.zeros(rows, CONDITIONS))
        if self.channels:
            values.append(torch.ones(rows, length, self.channels, dtype=torch.int64))
        return tuple(values)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        composition: Tensor | None = None,
        conditions: Tensor | None = None,
        possible: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        if self.channels and not self.with_conditions:  # inputs are given by position, so `possible` is the fourth
            conditions, possible = None, conditions
        batch = padded_batch(input_ids, attention_mask, composition, conditions)
        rows, length = input_ids.shape
        real = attention_mask.bool()[:, :, None]
        if self.channels:
            hidden = self.net.hidden(batch).view(rows, length, -1)
            assert possible is not None
            return (self.intensities(hidden, attention_mask, possible),)
        if not self.labelled:
            hidden = self.net.hidden(batch)
            return mean_of_inner(hidden, batch)[:rows], hidden.view(rows, length, -1) * real
        predictions = self.net.predictions(self.net(batch), self.focal)
        if self.net.kind.by_residue:
            return (predictions.view(rows, length, -1) * real,)
        return (predictions[:rows],)

    def intensities(self, hidden: Tensor, mask: Tensor, possible: Tensor) -> Tensor:
        """(B, L, K) as `Fragments.predictions`, from the hidden states (B, L, D)."""
        following = torch.cat([hidden[:, 1:], hidden[:, :1]], 1)  # there is no bond after the last token
        # A bond has a residue on both sides: it is not after the first token, and two tokens follow.
        column = torch.arange(mask.shape[1], device=mask.device)[None]
        bonds = (column > 0) & (column < mask.sum(1, keepdim=True) - 2)
        can_exist = bonds[:, :, None] & possible.bool()
        activated = self.net.activated(self.net.of_bonds(hidden, following)).clamp(min=0)
        intensity = torch.where(can_exist, activated, torch.zeros_like(activated))
        return intensity / intensity.amax((1, 2), keepdim=True).clamp(min=1e-12)


def padded_batch(
    ids: Tensor, mask: Tensor, composition: Tensor | None = None, conditions: Tensor | None = None
) -> Static:
    """Rows of one sequence each as a static batch; the additional last sequence is the padding."""
    rows, length = ids.shape
    real = mask.bool()
    # ONNX has no product of a tensor with a dynamic size, so that numbers and first tokens are slices of ranges.
    numbers = torch.arange(rows + 1, device=ids.device)
    column = torch.arange(length, device=ids.device)[None]
    first = torch.arange(rows * length, device=ids.device).view(rows, length)[:, 0]
    sizes = real.sum(1)
    padding = torch.ones_like(sizes[:1])
    fields: dict[str, Any] = {
        "tokens": ids.flatten(),
        "lengths": torch.cat([sizes, padding]),
        "sizes": (),
        "rows": rows,
        "segments": torch.where(real, numbers[:-1, None], numbers[-1:]).flatten(),
        "offsets_in": (column * real).flatten(),
        "first": torch.cat([first, padding - 1]),
        "last": torch.cat([first + sizes - 1, padding - 1]),
        "order": np.empty(0, np.int64),
    }
    if composition is None:
        return StaticFlat(**fields)
    fields |= {"places": torch.arange(rows * length, device=ids.device), "composition": composition.flatten(0, 1)}
    if conditions is not None:  # the padding has a row too
        conditions = torch.cat([conditions, conditions[:1]])
    return StaticPeptides(**fields, conditions=conditions)
