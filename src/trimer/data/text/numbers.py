"""Fast parsing of many numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def to_float(text: bytes, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(W,) float64 numbers of concatenated words, and which could be parsed. lengths: (W,) bytes of each word."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    words = pa.LargeStringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(text))
    try:
        return words.cast(pa.float64()).to_numpy(), np.ones(len(lengths), bool)
    except pa.ArrowInvalid:  # some word is not a plain number: parse one by one
        values, parsed = np.full(len(lengths), np.nan), np.zeros(len(lengths), bool)
        for i in range(len(lengths)):
            try:
                values[i] = float(text[offsets[i] : offsets[i + 1]])
                parsed[i] = True
            except ValueError:
                continue
        return values, parsed
