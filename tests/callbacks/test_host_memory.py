"""Freed memory is returned to the system at the configured steps."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trimer.callbacks import host_memory
from trimer.callbacks.host_memory import HostMemory, trim

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


def test_memory_is_returned_at_the_configured_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(host_memory, "trim", lambda: calls.append(1))
    memory, gathering = HostMemory(every=3), False
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_should_accumulate=lambda: gathering))
    for step in range(1, 8):
        memory.on_train_batch_end(SimpleNamespace(global_step=step, fit_loop=loop), None, None, None, step)
    assert len(calls) == 2
    gathering = True
    memory.on_train_batch_end(SimpleNamespace(global_step=9, fit_loop=loop), None, None, None, 9)
    assert len(calls) == 2
    memory.on_validation_end(None, None)
    assert len(calls) == 3
    with pytest.raises(ValueError, match="1 step or more"):
        HostMemory(every=0)
