"""What the models are fed: flat sequences, and a label for each position that is to be found or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from trimer.flat import Flat, FlatPeptides

MISSING = -100  # label of a token that is not predicted: the default of torch's cross-entropy


def label_count(labels: Tensor) -> Tensor:
    """How many labels are not missing, on their device."""
    return (labels != MISSING).sum()


@dataclass
class PairBatch:
    """B pairs.

    labels: (T,) int64, what follows each decoder input, -100 at padding. rows: (B,) row of each pair in its store.
    """

    source: Flat
    target: Flat
    labels: Tensor
    rows: Tensor

    @classmethod
    def pack(cls, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], rows: np.ndarray) -> PairBatch:
        """Sources and targets are `<s> ... </s>`; the decoder reads all but the last, and writes all but the first."""
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
        """Tokens read and written; there is no padding to leave out."""
        return sum(self.source.sizes) + sum(self.target.sizes)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        return PairBatch(
            self.source.to(device, non_blocking),
            self.target.to(device, non_blocking),
            self.labels.to(device, non_blocking=non_blocking),
            self.rows.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> PairBatch:
        return PairBatch(
            self.source.pin_memory(), self.target.pin_memory(), self.labels.pin_memory(), self.rows.pin_memory()
        )


@dataclass
class MaskedBatch:
    """B sequences of which some tokens are hidden.

    sequence: the damaged tokens. places: (M,) int64, the positions in T of the tokens to be found. labels: (M,) int64,
    what stood there, -100 where M is filled up to a fixed number. M may be 0. rows: (B,) row of each sequence in its
    store. asked: how many are to be found, M if None.
    """

    sequence: Flat
    places: Tensor
    labels: Tensor
    rows: Tensor
    asked: int | None = None

    def __post_init__(self) -> None:
        if self.asked is None:
            self.asked = len(self.places)

    @classmethod
    def pack(
        cls, tokens: np.ndarray, lengths: np.ndarray, places: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> MaskedBatch:
        """From arrays of any integers: (T,) tokens end to end, (B,) lengths, places, labels and rows as above."""
        tokens, lengths, places, labels, rows = (
            torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
            for values in (tokens, lengths, places, labels, rows)
        )
        return cls(Flat(tokens, lengths, tuple(lengths.tolist())), places, labels, rows)

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def real_tokens(self) -> int:
        """Tokens read, `<cls>` and `<eos>` among them; there is no padding to leave out."""
        return sum(self.sequence.sizes)

    @property
    def residues(self) -> int:
        """Residues read, hidden ones among them."""
        return self.real_tokens - 2 * len(self)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> MaskedBatch:
        return MaskedBatch(
            self.sequence.to(device, non_blocking),
            self.places.to(device, non_blocking=non_blocking),
            self.labels.to(device, non_blocking=non_blocking),
            self.rows.to(device, non_blocking=non_blocking),
            self.asked,
        )

    def pin_memory(self) -> MaskedBatch:
        parts = (self.sequence, self.places, self.labels, self.rows)
        return MaskedBatch(*(part.pin_memory() for part in parts), self.asked)


@dataclass
class LabelledBatch:
    """B sequences of which something is known.

    labels: (B,) int64 classes; (B, K) float32, NaN where a label is missing; or (R,) int64 classes of all residues,
    -100 where one is missing. rows: (B,) row of each sequence in its store.
    """

    sequence: Flat
    labels: Tensor
    rows: Tensor

    @classmethod
    def of(cls, sequence: Flat, labels: np.ndarray, rows: np.ndarray) -> Self:
        """Sequences with their frame, labels and rows as above."""
        rows = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        return cls(sequence, torch.from_numpy(np.ascontiguousarray(labels)), rows)

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def real_tokens(self) -> int:
        """Tokens read; there is no padding to leave out."""
        return sum(self.sequence.sizes)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        return type(self)(
            self.sequence.to(device, non_blocking),
            self.labels.to(device, non_blocking=non_blocking),
            self.rows.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Self:
        return type(self)(self.sequence.pin_memory(), self.labels.pin_memory(), self.rows.pin_memory())


@dataclass
class FragmentBatch(LabelledBatch):
    """B spectra of peptides. labels: (S, K) float32, relative intensities of the K channels at all cleavage sites, -1
    where a fragment cannot be. rows: (B,) row of each spectrum in its store.
    """

    sequence: FlatPeptides
