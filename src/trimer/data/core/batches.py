"""Batches that the models read: flat (unpadded) sequences with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from trimer.flat import Flat, FlatPeptides
from trimer.transfer import Movable

MISSING = -100  # label of a token that is not predicted: the default of torch's cross-entropy


def label_count(labels: Tensor) -> Tensor:
    """Number of labels that are not missing, as a tensor on their device."""
    return (labels != MISSING).sum()


@dataclass
class PairBatch(Movable):
    """B pairs of an encoder input and a decoder target.

    labels: (T,) int64, the token after each decoder input, -100 at padding. rows: (B,) row of each pair in its store.
    """

    source: Flat
    target: Flat
    labels: Tensor
    rows: Tensor

    @classmethod
    def pack(cls, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], rows: np.ndarray) -> PairBatch:
        """The decoder reads all but the last token of a target `<s> ... </s>`, and predicts all but the first."""
        labels = np.concatenate([np.asarray(t[1:], dtype=np.int64) for t in targets])
        return cls(
            Flat.pack(sources),
            Flat.pack([t[:-1] for t in targets]),
            torch.from_numpy(labels),
            torch.from_numpy(np.asarray(rows, dtype=np.int64)),
        )

    def __len__(self) -> int:
        return len(self.source)

    @property
    def real_tokens(self) -> int:
        """Number of tokens of sources and decoder inputs, without padding."""
        return sum(self.source.sizes) + sum(self.target.sizes)


@dataclass
class SequenceBatch(Movable):
    """B sequences with their begin and end tokens."""

    sequence: Flat

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def real_tokens(self) -> int:
        """Number of tokens, without padding."""
        return sum(self.sequence.sizes)


@dataclass
class MaskedBatch(SequenceBatch):
    """B sequences with masked tokens.

    sequence: the corrupted tokens. positions: (M,) int64, positions in T of the tokens to predict. labels: (M,) int64,
    their true ids, -100 where M is padded to a fixed number. M may be 0. rows: (B,) row of each sequence in its
    store. masked: number of tokens to predict, M if None.
    """

    positions: Tensor
    labels: Tensor
    rows: Tensor
    masked: int | None = None

    def __post_init__(self) -> None:
        if self.masked is None:
            self.masked = len(self.positions)

    @classmethod
    def pack(
        cls, tokens: np.ndarray, lengths: np.ndarray, positions: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> MaskedBatch:
        """From integer arrays: (T,) concatenated tokens, (B,) lengths, and positions, labels and rows as above."""

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))

        sequence = Flat(tensor(tokens), tensor(lengths), tuple(lengths.tolist()))
        return cls(sequence, tensor(positions), tensor(labels), tensor(rows))

    @property
    def residues(self) -> int:
        """Number of residues, including masked ones."""
        return self.real_tokens - 2 * len(self)


@dataclass
class LabelledBatch(SequenceBatch):
    """B sequences with labels.

    labels: (B,) int64 classes; (B, K) float32, NaN where a label is missing; or (R,) int64 classes of all residues,
    -100 where one is missing. rows: (B,) row of each sequence in its store.
    """

    labels: Tensor
    rows: Tensor

    @classmethod
    def of(cls, sequence: Flat, labels: np.ndarray, rows: np.ndarray) -> Self:
        """From arrays of labels and rows as above; the sequences include their start and end tokens."""
        row_numbers = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        return cls(sequence, torch.from_numpy(np.ascontiguousarray(labels)), row_numbers)


@dataclass
class FragmentBatch(LabelledBatch):
    """B fragment spectra of peptides.

    labels: (S, K) float32, relative intensities of the K fragment channels at all cleavage sites, -1 where a fragment
    is impossible. rows: (B,) row of each spectrum in its store.
    """

    sequence: FlatPeptides
