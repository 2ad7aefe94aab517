"""Ragged columns of a store, which are divided into record batches of a memory-mapped file.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from trimer.data.core.ragged import Ragged


class StoredRagged:
    """A ragged column of a store: like `Ragged`, but divided into record batches."""

    def __init__(self, arrays: list[pa.LargeListArray]) -> None:
        self._record_batches = [
            Ragged(array.values.to_numpy(zero_copy_only=True), array.offsets.to_numpy(zero_copy_only=True))
            for array in arrays
        ]

        self._batch_rows = len(self._record_batches[0]) if arrays else 0  # of all but the last one

    def __len__(self) -> int:
        return sum(len(part) for part in self._record_batches)

    def __getitem__(self, row: int) -> np.ndarray:
        part = self._record_batches[row // self._batch_rows]
        row %= self._batch_rows
        return part.values[part.offsets[row] : part.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64 length of every row."""
        return np.concatenate([part.lengths for part in self._record_batches]).astype(np.int64)

    def lengths_at(self, rows: np.ndarray) -> np.ndarray:
        """(m,) int64 lengths of some rows, ascending; reads only the offsets of these."""
        numbers, firsts = np.unique(rows // max(self._batch_rows, 1), return_index=True)
        lengths = []
        for number, places in zip(numbers.tolist(), np.split(rows, firsts[1:]), strict=True):
            offsets, inside = self._record_batches[number].offsets, places - number * self._batch_rows
            lengths.append(offsets[inside + 1] - offsets[inside])
        return np.concatenate(lengths) if lengths else np.zeros(0, np.int64)

    def between(self, start: int, stop: int) -> Ragged:
        """Rows start to stop, copied."""
        parts, first = [self._record_batches[0].slice(0, 0)], 0
        for batch in self._record_batches:
            if first < stop and start < first + len(batch):
                parts.append(batch.slice(max(start - first, 0), min(stop - first, len(batch))))
            first += len(batch)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([part.lengths for part in parts]))]).astype(np.int64)
        return Ragged(np.concatenate([part.values for part in parts]), offsets)

    def take(self, rows: Iterable[int]) -> Ragged:
        """These rows, copied and concatenated, in this order."""
        indices = np.asarray(rows, np.int64)
        if len(self._record_batches) == 1:
            return self._record_batches[0].take(indices)
        return Ragged.pack([self[int(row)] for row in indices], self._record_batches[0].values.dtype)
