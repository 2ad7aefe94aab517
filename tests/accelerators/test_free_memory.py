"""Freed memory is returned to the system."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from trimer.accelerators.free_memory import trim

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not GLIBC, reason="the C library is another")
def test_fragmented_free_memory_is_returned_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    size = 100_000  # below the size from which glibc maps each block separately
    blocks = [libc.malloc(size) for _ in range(4000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    full = resident()
    for place, block in enumerate(blocks):
        if place % 2:  # every second block is kept, so the heap cannot shrink from its end
            libc.free(block)
    assert trim() and full - resident() > 100
    for block in blocks[::2]:
        libc.free(block)
