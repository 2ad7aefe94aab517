"""Batches of sequences of different lengths, in one row of T tokens.

`Flat` concatenates the sequences without padding. `StaticFlat` has the same T and B in every batch, as XLA requires:
R rows of L tokens, each filled with whole sequences and some padding. Models use both through the same methods.

Shapes: T tokens in all, B sequences, R rows of L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trimer.transfer import Movable


class Rows(NamedTuple):
    """Which tokens of a static batch may attend to each other.

    segments: (R, L) int64, number of the sequence that each token belongs to. bounds: see `Static`.
    """

    segments: Tensor
    bounds: Tensor | None = None


@dataclass
class Flat(Movable):
    """B sequences in one row of T tokens.

    tokens: (T,) int64 ids.
    lengths: (B,) int64, sums to T, on the device of the tokens.
    sizes: the same lengths as integers on the host, so that no kernel waits for the device to learn a shape.
    features: (B, F) float32 further inputs of the head, NaN where undefined (`data.features`); None for none.
    """

    tokens: Tensor
    lengths: Tensor
    sizes: tuple[int, ...]
    features: Tensor | None = field(default=None, kw_only=True)

    @classmethod
    def pack(cls, sequences: Sequence[Sequence[int] | np.ndarray]) -> Flat:
        """A batch of these sequences, concatenated in order."""
        sizes = tuple(len(s) for s in sequences)
        tokens = np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]) if sizes else np.zeros(0, np.int64)
        return cls(torch.from_numpy(tokens), torch.tensor(sizes, dtype=torch.int64), sizes)

    @classmethod
    def from_concatenated(cls, tokens: np.ndarray, lengths: np.ndarray) -> Flat:
        """A batch of (T,) concatenated tokens and (B,) lengths."""
        sizes = np.asarray(lengths, dtype=np.int64)
        return cls(torch.from_numpy(np.asarray(tokens, dtype=np.int64)), torch.from_numpy(sizes), tuple(sizes.tolist()))

    def __len__(self) -> int:
        return len(self.sizes)

    def unpack(self) -> list[Tensor]:
        """The B sequences, as views."""
        return list(self.tokens.split(self.sizes))

    @property
    def layout(self) -> tuple[int, ...] | Rows:
        """Which tokens may attend to each other, in the form that `attention` expects."""
        return self.sizes

    @property
    def slots(self) -> int:
        """Number of entries in tensors with one entry per sequence: B."""
        return self.lengths.shape[0]

    def positions(self) -> Tensor:
        """(T,) position of each token in its own sequence, from 0."""
        offsets = torch.repeat_interleave(self.starts(), self.lengths, output_size=self.tokens.numel())
        return torch.arange(self.tokens.numel(), device=self.tokens.device) - offsets

    def owners(self) -> Tensor:
        """(T,) number of the sequence that each token belongs to."""
        return torch.repeat_interleave(self.lengths, output_size=self.tokens.numel())

    def starts(self) -> Tensor:
        """(B,) index in T of the first token of each sequence."""
        return self.lengths.cumsum(0) - self.lengths

    def ends(self) -> Tensor:
        """(B,) index in T of the last token of each sequence."""
        return self.lengths.cumsum(0) - 1

    def inner(self) -> Tensor:
        """Indices in T of the tokens that can have a label: all but the first and the last of each sequence."""
        return self._from_the_second(2)

    def bonds(self) -> Tensor:
        """(S,) indices in T of the residue before each bond: all tokens but the first and the last two of a peptide."""
        return self._from_the_second(3)

    def bond_owners(self) -> Tensor:
        """(S,) number of the peptide that each bond belongs to."""
        count = sum(self.sizes) - 3 * len(self)
        return torch.repeat_interleave(self.lengths - 3, output_size=count)

    def real_bonds(self) -> slice | np.ndarray:
        """Which of the S bonds are bonds of a peptide, ordered by peptide: here all."""
        return slice(None)

    def with_gaps(self, gap: int) -> tuple[Tensor, int]:
        """(T,) index of each token if `gap` empty rows follow each sequence, and the total number of rows."""
        indices = torch.arange(self.tokens.numel(), device=self.tokens.device) + self.owners() * gap
        return indices, self.tokens.numel() + self.slots * gap

    def _from_the_second(self, fewer: int) -> Tensor:
        """(N,) indices in T of `length - fewer` tokens of each sequence, from the second one on.

        N is computed on the host, so nothing waits for the device.
        """
        counts = (self.lengths - fewer).clamp(min=0)
        total = sum(max(size - fewer, 0) for size in self.sizes)
        shift = self.starts() + 1 - (counts.cumsum(0) - counts)  # from an index among the N to one in T
        return torch.arange(total, device=shift.device) + torch.repeat_interleave(shift, counts, output_size=total)

    def offsets(self) -> Tensor:
        """(B + 1,) int32 cumulative lengths from 0, as variable-length kernels expect them."""
        zero = self.lengths.new_zeros(1)
        return torch.cat([zero, self.lengths.cumsum(0)]).to(torch.int32)


@dataclass
class FlatPeptides(Flat):
    """B peptides in one row, each between its termini, with modifications and measurement conditions.

    places: (M,) int64, index in T of each modification; a terminal one is on the token of its terminus. composition:
    (M, E) float32, atoms of each element that it adds. conditions: (B, C) float32 of the measurement, or None.
    """

    places: Tensor
    composition: Tensor
    conditions: Tensor | None = None


@dataclass(kw_only=True)
class Static(Flat):
    """A batch of constant shape: R rows of L tokens, T = R L, with B entries for sequences.

    The last of the B sequences is the padding, which owns each token that belongs to no sequence. Unused entries of
    tensors with one entry per sequence have length 1. sizes: lengths of the real sequences only, so `len` counts
    these. Padding has position 0 and attends to padding only.

    rows: R. segments: (T,) int64, number of the sequence of each token. offsets_in: (T,) int64, position of each token
    in its sequence. first, last: (B,) int64, index in T of the first and the last token of each sequence.
    order: (N,) indices in T of the N tokens of the flat batch, on the CPU. bounds: (B + R + 1,) int32, indices in T
    where the sequences and the padding of each row begin, in order, then T for unused entries; the same sequences in
    source and target. None where no variable-length kernel is used.
    """

    rows: int
    segments: Tensor
    offsets_in: Tensor
    first: Tensor
    last: Tensor
    order: np.ndarray
    bounds: Tensor | None = None

    @property
    def layout(self) -> Rows:
        return Rows(self.segments.view(self.rows, -1), self.bounds)

    def unpack(self) -> list[Tensor]:
        """The real sequences."""
        return list(self.tokens[torch.from_numpy(self.order)].split(self.sizes))

    def positions(self) -> Tensor:
        return self.offsets_in

    def owners(self) -> Tensor:
        return self.segments

    def starts(self) -> Tensor:
        return self.first

    def ends(self) -> Tensor:
        return self.last

    def inner(self) -> Tensor:
        """All tokens: labels are missing if there is no residue."""
        return torch.arange(self.tokens.numel(), device=self.tokens.device)

    def bonds(self) -> Tensor:
        """All tokens: labels mark fragments of missing bonds as impossible. No bond follows the last token."""
        return self.inner().clamp(max=self.tokens.numel() - 2)

    def bond_owners(self) -> Tensor:
        return self.segments

    def real_bonds(self) -> np.ndarray:
        return self.order[flat_bonds(self.sizes)]

    def with_gaps(self, gap: int) -> tuple[Tensor, int]:
        """There is a gap wherever the sequence changes: at most once per sequence, and once at the end of each row."""
        changes = torch.zeros_like(self.segments)
        changes[1:] = self.segments[1:] != self.segments[:-1]
        indices = torch.arange(self.tokens.numel(), device=self.tokens.device) + changes.cumsum(0) * gap
        return indices, self.tokens.numel() + (self.slots + self.rows) * gap


@dataclass
class StaticFlat(Static):
    """Sequences in R rows of L tokens; see `Static`."""


@dataclass
class StaticPeptides(Static, FlatPeptides):
    """Peptides in R rows of L tokens: M = T, and tokens without a modification add no atoms."""


def flat_inner(sizes: Sequence[int]) -> np.ndarray:
    """Indices of the inner tokens of concatenated sequences, as in `Flat.inner`, on the host."""
    return _flat_without(sizes, 1)


def flat_bonds(sizes: Sequence[int]) -> np.ndarray:
    """Indices of the bonds of concatenated peptides, as in `Flat.bonds`, on the host."""
    return _flat_without(sizes, 2)


def _flat_without(sizes: Sequence[int], last: int) -> np.ndarray:
    """Indices of all tokens but the first and the `last` last ones of each sequence."""
    lengths = np.asarray(sizes, dtype=np.int64)
    ends = np.repeat(np.cumsum(lengths), lengths)
    indices = np.arange(lengths.sum())
    return indices[(indices >= ends - np.repeat(lengths, lengths) + 1) & (indices < ends - last)]
