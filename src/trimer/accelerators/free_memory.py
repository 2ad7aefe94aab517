"""Free memory of the host that the C library keeps: returned to the operating system, or shared by threads.

Only glibc needs this; with another C library the functions do nothing.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

ARENA_MAX = -8  # the parameter M_ARENA_MAX of mallopt


def trim() -> bool:
    """Return free memory to the operating system; False if the C library cannot.

    Batches and requests have many sizes, so freed blocks rarely fit again. glibc keeps them, and a process grows to
    several times the memory that it uses.
    """
    malloc_trim = function_of_glibc("malloc_trim")
    if malloc_trim is None:
        return False
    malloc_trim(0)
    return True


def share_arena() -> None:
    """Let all threads allocate from one arena; to be called before the first thread starts.

    glibc gives threads separate arenas, eight for each core. The blocks that one request frees are not used by the
    thread of the next one, so that memory grows until every arena has held the largest request.
    """
    mallopt = function_of_glibc("mallopt")
    if mallopt is not None:
        mallopt(ARENA_MAX, 1)


def function_of_glibc(name: str) -> Any:
    """A function of the C library; None if it has none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
