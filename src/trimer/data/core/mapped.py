"""Long arrays of numbers in temporary files that are mapped into memory.

The memory of a process that trains does not grow with its data: the system reads the pages that are needed and may drop
them at any time. The files have no name, so nothing is left behind however the process ends.
"""

from __future__ import annotations

import logging
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

LARGE = 1 << 24  # bytes above which an array is put into a file
PART = 1 << 20  # numbers that are computed at once


def ranges(count: int) -> Iterator[range]:
    """0 to count - 1 in ranges of PART numbers."""
    return (range(start, min(start + PART, count)) for start in range(0, count, PART))


def row_type(count: int) -> np.dtype:
    """The smallest type of the numbers of `count` rows."""
    return np.dtype(np.int32 if count <= 2**31 else np.int64)


def numbered(count: int, folder: Path | None) -> np.ndarray:
    """(count,) the numbers 0 to count - 1, writable; see `collected`."""
    kind = row_type(count)
    return collected((np.arange(part.start, part.stop, dtype=kind) for part in ranges(count)), kind, folder)


def collected(parts: Iterable[np.ndarray], kind: np.dtype | type, folder: Path | None) -> np.ndarray:
    """The concatenated parts, writable; more than LARGE bytes in a mapped file of this folder (None: in memory).

    In a folder that cannot be written the array is in memory, with a warning.
    """
    remaining = (np.asarray(part, kind) for part in parts)
    first: list[np.ndarray] = []
    for part in remaining:
        first.append(part)
        if folder is not None and sum(some.nbytes for some in first) > LARGE:
            break
    else:
        return np.concatenate(first) if first else np.zeros(0, kind)
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by the block below)
    except OSError as error:
        log.warning("the order of the data is held in memory: %s cannot be written (%s)", folder, error.strerror)
        return np.concatenate([*first, *remaining])
    with file:
        for part in chain(first, remaining):
            file.write(part.data)
        file.flush()
        return np.frombuffer(mmap.mmap(file.fileno(), 0), kind)
