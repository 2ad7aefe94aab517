"""Vectors as columns of Arrow tables, made from arrays without objects of Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

VALUES = 2**26  # numbers in a chunk or a row group (256 MB), unless a single record has more


def vector_column(vectors: Sequence[np.ndarray | None], per_position: bool) -> pa.ChunkedArray:
    """The column of n vectors (D,) or, per position, (L, D), as float32; null for None.

    It has chunks of at most VALUES numbers, because the offsets of Arrow's lists have 32 bits.
    """
    ends = np.cumsum([0 if vector is None else vector.size for vector in vectors], dtype=np.int64)
    chunks, start, before = [], 0, 0
    while start < len(vectors):
        stop = max(int(np.searchsorted(ends, before + VALUES, side="right")), start + 1)
        chunks.append(vector_lists(vectors[start:stop], per_position))
        start, before = stop, int(ends[stop - 1])
    return pa.chunked_array(chunks or [vector_lists([], per_position)])


def vector_lists(vectors: Sequence[np.ndarray | None], per_position: bool) -> pa.ListArray:
    """Lists of float32 of n vectors (D,) or, per position, (L, D); null for None. The numbers are copied once."""
    present = [vector for vector in vectors if vector is not None]
    parts = [vector.ravel() for vector in present] or [np.zeros(0, np.float32)]
    values: pa.Array = pa.array(np.concatenate(parts, dtype=np.float32))
    if per_position:
        width = present[0].shape[1] if present else 1
        values = pa.ListArray.from_arrays(offsets_of([width] * sum(map(len, present))), values)
    counts = [0 if vector is None else len(vector) for vector in vectors]  # positions, or the numbers of a vector
    missing = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.ListArray.from_arrays(offsets_of(counts), values, mask=missing)


def offsets_of(counts: Sequence[int]) -> pa.Array:
    """(n + 1,) int32 offsets of n lists with these counts of values; pyarrow.ArrowInvalid beyond 2^31 values."""
    return pa.array(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), pa.int32())
