"""Batches of sequences of different lengths, in one row of T tokens.

`Flat` concatenates the sequences, and nothing is padded. `StaticFlat` has the same T and B in every batch, as XLA needs
it: R rows of L tokens, each filled with whole sequences and some padding. The models read both by the same methods.

Shapes: T tokens in all, B sequences, R rows of L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor


class Rows(NamedTuple):
    """Which sequence each token of a static batch belongs to: (R, L) int64."""

    segments: Tensor


@dataclass
class Flat:
    """B sequences in one row of T tokens.

    tokens: (T,) int64 ids.
    lengths: (B,) int64, sums to T, on the device of the tokens.
    sizes: the same lengths as plain integers, so that no kernel has to wait for the device to know a shape.
    """

    tokens: Tensor
    lengths: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def pack(cls, sequences: Sequence[Sequence[int] | np.ndarray]) -> Flat:
        """Lay the sequences end to end, in the order given."""
        sizes = tuple(len(s) for s in sequences)
        tokens = np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]) if sizes else np.zeros(0, np.int64)
        return cls(torch.from_numpy(tokens), torch.tensor(sizes, dtype=torch.int64), sizes)

    @classmethod
    def laid(cls, tokens: np.ndarray, lengths: np.ndarray) -> Flat:
        """From (T,) tokens that lie end to end already, and (B,) lengths."""
        lengths = torch.from_numpy(np.asarray(lengths, dtype=np.int64))
        return cls(torch.from_numpy(np.asarray(tokens, dtype=np.int64)), lengths, tuple(lengths.tolist()))

    def __len__(self) -> int:
        return len(self.sizes)

    def unpack(self) -> list[Tensor]:
        """The B sequences, as views."""
        return list(self.tokens.split(self.sizes))

    @property
    def layout(self) -> tuple[int, ...] | Rows:
        """Which tokens may attend to each other, as `attention` reads it."""
        return self.sizes

    @property
    def slots(self) -> int:
        """Entries of a tensor with one entry a sequence: B."""
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
        """Indices in T of the tokens that have a label of their own: neither the first nor the last of a sequence."""
        return self._from_the_second(2)

    def bonds(self) -> Tensor:
        """(S,) indices in T of the residue before each bond: all tokens but the first and the last two of a peptide."""
        return self._from_the_second(3)

    def bond_owners(self) -> Tensor:
        """(S,) number of the peptide that each bond belongs to."""
        count = sum(self.sizes) - 3 * len(self)
        return torch.repeat_interleave(self.lengths - 3, output_size=count)

    def real_bonds(self) -> slice | np.ndarray:
        """Which of the S bonds are those of a peptide, peptide by peptide: here all."""
        return slice(None)

    def spread(self, gap: int) -> tuple[Tensor, int]:
        """(T,) index of each token if `gap` empty rows followed each sequence, and the number of rows then."""
        places = torch.arange(self.tokens.numel(), device=self.tokens.device) + self.owners() * gap
        return places, self.tokens.numel() + self.slots * gap

    def _from_the_second(self, fewer: int) -> Tensor:
        """(N,) indices in T of length - fewer tokens of each sequence, the second one first; none of a shorter one.

        Their number is known on the host, so nothing waits for the device.
        """
        counts = (self.lengths - fewer).clamp(min=0)
        total = sum(max(size - fewer, 0) for size in self.sizes)
        shift = self.starts() + 1 - (counts.cumsum(0) - counts)  # from an index among the N to one in T
        return torch.arange(total, device=shift.device) + torch.repeat_interleave(shift, counts, output_size=total)

    def offsets(self) -> Tensor:
        """(B + 1,) int32 cumulative lengths from 0, as variable-length kernels want them."""
        zero = self.lengths.new_zeros(1)
        return torch.cat([zero, self.lengths.cumsum(0)]).to(torch.int32)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self._each(Tensor.pin_memory)

    def _each(self, do: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: do(value) for name, value in values.items() if isinstance(value, Tensor)})


@dataclass
class FlatPeptides(Flat):
    """B peptides in one row, each between its two termini, with what is known beside the letters.

    places: (M,) int64, where in T a modification sits; a terminal one sits on the token of its own end. composition:
    (M, E) float32 atoms of each element that it adds. conditions: (B, C) float32 of the measurement, or None.
    """

    places: Tensor
    composition: Tensor
    conditions: Tensor | None = None


@dataclass(kw_only=True)
class Static:
    """What a batch of one shape has beside its tokens: R rows of L tokens, T = R L, and room for B sequences.

    The last of the B is the padding: each token that belongs to no sequence is its token, and an entry of a tensor
    with one entry a sequence that no sequence uses has the length 1. sizes: lengths of the real sequences alone, so
    `len` counts these. Positions of padding are 0, and it attends to padding only.

    rows: R. segments: (T,) int64, number of the sequence of each token. offsets_in: (T,) int64, position of each token
    in its own sequence. first, last: (B,) int64, index in T of the first and the last token of each sequence.
    order: (N,) index in T of each token of the N in the flat batch; on the CPU.
    """

    rows: int
    segments: Tensor
    offsets_in: Tensor
    first: Tensor
    last: Tensor
    order: np.ndarray

    @property
    def layout(self) -> Rows:
        return Rows(self.segments.view(self.rows, -1))

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
        """All tokens: labels are missing where there is no residue."""
        return torch.arange(self.tokens.numel(), device=self.tokens.device)

    def bonds(self) -> Tensor:
        """All tokens: labels say that a fragment cannot be where there is no bond. The last has none after it."""
        return self.inner().clamp(max=self.tokens.numel() - 2)

    def bond_owners(self) -> Tensor:
        return self.segments

    def real_bonds(self) -> np.ndarray:
        return self.order[flat_bonds(self.sizes)]

    def spread(self, gap: int) -> tuple[Tensor, int]:
        """A gap is needed wherever the sequence changes: at most once a sequence, and once for the end of a row."""
        changes = torch.zeros_like(self.segments)
        changes[1:] = self.segments[1:] != self.segments[:-1]
        places = torch.arange(self.tokens.numel(), device=self.tokens.device) + changes.cumsum(0) * gap
        return places, self.tokens.numel() + (self.slots + self.rows) * gap


@dataclass
class StaticFlat(Static, Flat):
    """Sequences in R rows of L tokens; see `Static`."""


@dataclass
class StaticPeptides(Static, FlatPeptides):
    """Peptides in R rows of L tokens: M = T, and where no modification sits, no atoms are added."""


def flat_inner(sizes: Sequence[int]) -> np.ndarray:
    """Indices of the inner tokens of concatenated sequences, as `Flat.inner`, without a device."""
    return _flat_without(sizes, 1)


def flat_bonds(sizes: Sequence[int]) -> np.ndarray:
    """Indices of the bonds of concatenated peptides, as `Flat.bonds`, without a device."""
    return _flat_without(sizes, 2)


def _flat_without(sizes: Sequence[int], last: int) -> np.ndarray:
    """Of all tokens but the first and the `last` last of each sequence."""
    sizes = np.asarray(sizes, dtype=np.int64)
    ends = np.repeat(np.cumsum(sizes), sizes)
    places = np.arange(sizes.sum())
    return places[(places >= ends - np.repeat(sizes, sizes) + 1) & (places < ends - last)]
