"""Prediction head: from the hidden states of an encoder to outputs per sequence or per residue.

Shapes: T tokens of a flat batch, B sequences, R residues of the batch (T without start and end tokens),
D width, K outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.flat import Flat, Static

BOUND = 5.0  # standard deviations of a feature: rare environments and some descriptors have far outliers
SHORT = 64  # mean length in tokens below which a loop over the sequences is slower on a CPU
POOLING = ("mean", "cls", "attention", "residue")


class Head(nn.Module):
    """K outputs for each sequence, or for each residue, from hidden states.

    pooling: "mean" over all tokens except the first and the last; "cls", the first token; "attention", a mean with
    learned weights (a linear score per token, softmax within the sequence); "residue", no pooling. dense: also a layer
    D -> D with tanh before the output, as in RoBERTa. dropout: before each of these layers, in training.
    features: number F of further inputs of each sequence (`Flat.features`), 0 for none. They are standardised by
    `feature_mean` and `feature_deviation` of the training split and bounded, pass a layer F -> D with ReLU, and are
    concatenated with the pooled hidden states.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(
        self,
        d_model: int,
        outputs: int,
        pooling: str = "mean",
        dense: bool = False,
        dropout: float = 0.1,
        features: int = 0,
    ):
        super().__init__()
        if pooling not in POOLING:
            raise ConfigError(f"task.head.pooling={pooling} must be one of {', '.join(POOLING)}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"task.head.dropout={dropout} must be at least 0 and below 1")
        self.pooling = pooling
        self.score = nn.Linear(d_model, 1) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.features = nn.Linear(features, d_model) if features else None
        if features:
            self.register_buffer("feature_mean", torch.zeros(features))
            self.register_buffer("feature_deviation", torch.ones(features))
        width = 2 * d_model if features else d_model
        self.dense = nn.Linear(width, d_model) if dense else None
        self.output = nn.Linear(d_model if dense else width, outputs)
        for layer in (self.score, self.features, self.dense, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor, sequence: Flat) -> Tensor:
        """(T, D) -> (B, K), or (R, K) by residue."""
        x = self.dropout(self.pool(hidden, sequence))
        if self.features is not None:
            values = self.standardised(sequence).to(self.features.weight.dtype)
            x = torch.cat([x, self.dropout(torch.relu(self.features(values))).to(x.dtype)], dim=1)
        if self.dense is not None:
            x = self.dropout(torch.tanh(self.dense(x)))
        with torch.autocast(x.device.type, enabled=False):  # bf16 would leave a few hundred distinct outputs
            return self.output(x.to(self.output.weight.dtype))

    def standardised(self, sequence: Flat) -> Tensor:
        """(B, F) features of the sequences in deviations from the mean, within ±BOUND; 0 where undefined."""
        if sequence.features is None or sequence.features.shape[1] != len(self.feature_mean):
            raise ConfigError(
                f"this model reads {len(self.feature_mean)} features of each molecule besides its SMILES, and the data "
                "have none or others: set data.features as in its training"
            )
        values = (sequence.features.float() - self.feature_mean) / self.feature_deviation
        return torch.nan_to_num(values, nan=0.0).clamp(-BOUND, BOUND)

    def pool(self, hidden: Tensor, sequence: Flat) -> Tensor:
        """(T, D) -> (B, D), or (R, D) by residue; independent of the other sequences in the batch."""
        if self.pooling == "residue":
            return hidden[sequence.inner()]
        if self.pooling == "mean":
            return mean_of_inner(hidden, sequence)
        if self.score is None:  # "cls"
            return hidden[sequence.starts()]
        scores = self.score(hidden).float().squeeze(-1)  # (T,)
        return attended(hidden, scores, sequence)


def mean_of_inner(hidden: Tensor, sequence: Flat) -> Tensor:
    """(B, D) mean over all tokens except the first and the last; over both if there are no others."""
    if isinstance(sequence, Static) or hidden.device.type != "cpu" or len(sequence) > len(hidden) // SHORT:
        return mean_by_addition(hidden, sequence)
    inner = [states[1:-1] if len(states) > 2 else states for states in hidden.split(sequence.sizes)]
    return torch.stack([states.mean(0) for states in inner])  # one short sum per sequence


def attended(hidden: Tensor, scores: Tensor, sequence: Flat) -> Tensor:
    """(B, D) means of (T, D), weighted by the softmax of the (T,) scores within each sequence, in fp32."""
    count, owner = sequence.slots, sequence.owners()
    highest = torch.full((count,), -torch.inf, device=scores.device).scatter_reduce(0, owner, scores.detach(), "amax")
    weights = torch.exp(scores - highest[owner])
    total = torch.zeros(count, device=scores.device).index_add(0, owner, weights)
    sums = torch.zeros(count, hidden.shape[1], device=scores.device)
    total = total.clamp(min=1e-9)  # a sequence has at least 1; an empty slot of a static batch has 0
    return (sums.index_add(0, owner, hidden.float() * weights[:, None]) / total[:, None]).to(hidden.dtype)


def mean_by_addition(hidden: Tensor, sequence: Flat) -> Tensor:
    """Same as `mean_of_inner` in few kernels: the sum over all tokens in fp32, minus the first and the last."""
    short = sequence.lengths <= 2
    owner = sequence.owners()
    sums = torch.zeros(sequence.slots, hidden.shape[1], dtype=torch.float32, device=hidden.device)
    sums = sums.index_add(0, owner, hidden.float())
    edges = hidden[sequence.starts()].float() + hidden[sequence.ends()].float()
    count = torch.where(short, sequence.lengths, sequence.lengths - 2)
    return ((sums - torch.where(short[:, None], 0.0, edges)) / count[:, None]).to(hidden.dtype)
