"""Sequences of different lengths laid end to end: nothing is padded.

Shapes: T tokens in all, B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    def positions(self) -> Tensor:
        """(T,) position of each token in its own sequence, from 0."""
        starts = self.lengths.cumsum(0) - self.lengths  # (B,)
        offsets = torch.repeat_interleave(starts, self.lengths, output_size=self.tokens.numel())
        return torch.arange(self.tokens.numel(), device=self.tokens.device) - offsets

    def offsets(self) -> Tensor:
        """(B + 1,) int32 cumulative lengths from 0, as variable-length kernels want them."""
        zero = self.lengths.new_zeros(1)
        return torch.cat([zero, self.lengths.cumsum(0)]).to(torch.int32)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Flat:
        return Flat(
            self.tokens.to(device, non_blocking=non_blocking),
            self.lengths.to(device, non_blocking=non_blocking),
            self.sizes,
        )

    def pin_memory(self) -> Flat:
        return Flat(self.tokens.pin_memory(), self.lengths.pin_memory(), self.sizes)


@dataclass
class FlatPeptides(Flat):
    """B peptides in one row, each between its two termini, with what is known beside the letters.

    places: (M,) int64, where in T a modification sits; a terminal one sits on the token of its own end. composition:
    (M, E) float32 atoms of each element that it adds. conditions: (B, C) float32 of the measurement, or None.
    """

    places: Tensor
    composition: Tensor
    conditions: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FlatPeptides:
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> FlatPeptides:
        return self._each(Tensor.pin_memory)

    def _each(self, do: Callable[[Tensor], Tensor]) -> FlatPeptides:
        conditions = None if self.conditions is None else do(self.conditions)
        parts = (self.tokens, self.lengths, self.places, self.composition)
        tokens, lengths, places, composition = (do(part) for part in parts)
        return FlatPeptides(tokens, lengths, self.sizes, places, composition, conditions)
