"""Heads: from the hidden states of an encoder to predictions for a sequence, or for each of its residues.

Shapes: T tokens of a flat batch, B sequences, R residues in all (T without the frame tokens), D width, K outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.flat import Flat, Static

SHORT = 64  # tokens of a sequence, on average, below which a loop over the sequences is slower on a CPU
POOLING = ("mean", "cls", "attention", "residue")


class Head(nn.Module):
    """From hidden states to K numbers for each sequence, or for each residue.

    pooling: "mean" over the tokens between the frame tokens; "cls", the first token; "attention", a mean whose weights
    are learnt (one vector of scores, softmax within the sequence); "residue", no pooling. dense: also a layer D -> D
    with tanh before the outputs, as RoBERTa's. dropout: before each of the layers, in training.
    """

    def __init__(self, d_model: int, outputs: int, pooling: str = "mean", dense: bool = False, dropout: float = 0.1):
        super().__init__()
        if pooling not in POOLING:
            raise ConfigError(f"task.head.pooling={pooling} must be one of {', '.join(POOLING)}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"task.head.dropout={dropout} must be at least 0 and below 1")
        self.pooling = pooling
        self.score = nn.Linear(d_model, 1) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(d_model, d_model) if dense else None
        self.output = nn.Linear(d_model, outputs)
        for layer in (self.score, self.dense, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor, sequence: Flat) -> Tensor:
        """(T, D) -> (B, K), or (R, K) by residue."""
        x = self.dropout(self.pool(hidden, sequence))
        if self.dense is not None:
            x = self.dropout(torch.tanh(self.dense(x)))
        with torch.autocast(
            x.device.type, enabled=False
        ):  # in bf16 the outputs of a split have only some hundred values
            return self.output(x.to(self.output.weight.dtype))

    def pool(self, hidden: Tensor, sequence: Flat) -> Tensor:
        """(T, D) -> (B, D), or (R, D) by residue; a sequence's does not depend on the others of the batch."""
        if self.pooling == "residue":
            return hidden[sequence.inner()]
        if self.pooling == "mean":
            return mean_of_inner(hidden, sequence)
        if self.pooling == "cls":
            return hidden[sequence.starts()]
        scores = self.score(hidden).float().squeeze(-1)  # (T,)
        return attended(hidden, scores, sequence)


def mean_of_inner(hidden: Tensor, sequence: Flat) -> Tensor:
    """(B, D) mean over the tokens between the first and the last one; of both where there is nothing between."""
    if isinstance(sequence, Static) or hidden.device.type != "cpu" or len(sequence) > len(hidden) // SHORT:
        return mean_by_addition(hidden, sequence)
    rows = [part[1:-1] if len(part) > 2 else part for part in hidden.split(sequence.sizes)]
    return torch.stack([row.mean(0) for row in rows])  # one short sum a sequence


def attended(hidden: Tensor, scores: Tensor, sequence: Flat) -> Tensor:
    """(B, D) means of (T, D) with weights that are the softmax of (T,) scores within each sequence, in fp32."""
    count, owner = sequence.slots, sequence.owners()
    highest = torch.full((count,), -torch.inf, device=scores.device).scatter_reduce(0, owner, scores.detach(), "amax")
    weights = torch.exp(scores - highest[owner])
    total = torch.zeros(count, device=scores.device).index_add(0, owner, weights)
    sums = torch.zeros(count, hidden.shape[1], device=scores.device)
    total = total.clamp(min=1e-9)  # at least 1 of a sequence; 0 where a static batch has none
    return (sums.index_add(0, owner, hidden.float() * weights[:, None]) / total[:, None]).to(hidden.dtype)


def mean_by_addition(hidden: Tensor, sequence: Flat) -> Tensor:
    """The same in few kernels, whatever the number of sequences: one addition in fp32, less the frame."""
    short = sequence.lengths <= 2
    owner = sequence.owners()
    sums = torch.zeros(sequence.slots, hidden.shape[1], dtype=torch.float32, device=hidden.device)
    sums = sums.index_add(0, owner, hidden.float())
    edges = hidden[sequence.starts()].float() + hidden[sequence.ends()].float()
    count = torch.where(short, sequence.lengths, sequence.lengths - 2)
    return ((sums - torch.where(short[:, None], 0.0, edges)) / count[:, None]).to(hidden.dtype)
