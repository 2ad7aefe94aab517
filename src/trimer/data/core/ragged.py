"""Rows of different lengths as one array of values and one of offsets.

Shapes: n rows, P values in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """n rows of different lengths, concatenated.

    values: (P,). offsets: (n + 1,) int64, row i is values[offsets[i]:offsets[i + 1]].
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def pack(cls, rows: Sequence[np.ndarray], dtype: np.dtype | type | None = None) -> Ragged:
        """Concatenate arrays."""
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        arrays = [np.asarray(row, dtype) for row in rows] or [np.zeros(0, dtype or np.int64)]
        return cls(np.concatenate(arrays), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64."""
        return np.diff(self.offsets)

    def slice(self, start: int, stop: int) -> Ragged:
        """Rows start to stop; the values are a view."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: np.ndarray) -> Ragged:
        """The given rows, copied and concatenated in that order."""
        rows = np.asarray(rows, np.int64)
        counts = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts)
        return Ragged(self.values[index], offsets)
