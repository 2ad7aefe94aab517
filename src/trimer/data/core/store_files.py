"""Files of a cache: checksums that detect damage, and removal of half-written folders of killed processes."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

from trimer.errors import InputError
from trimer.locks import FolderLock

log = logging.getLogger(__name__)

FORMAT = 1  # version of the store format
BLOCK = 1 << 24  # bytes for each checksum
CHECKED_BLOCKS = 64  # at most, spread over the file
DAY = 86400  # seconds; an older half-written folder without a lock is abandoned
TEMPORARY = re.compile(r"\..+-[0-9a-f]{16}-\w{8}")

_claimed: set[Path] = set()  # by this process, which can acquire its own locks again


def checksums(path: Path, blocks: Iterable[int] | None = None) -> list[int]:
    """CRC-32 checksums of all blocks of a file, or of these blocks."""
    sums = []
    with path.open("rb") as file:
        for block in range(-(-path.stat().st_size // BLOCK)) if blocks is None else blocks:
            file.seek(block * BLOCK)
            sums.append(zlib.crc32(file.read(BLOCK)))
    return sums


def unchanged(path: Path, expected: list[int]) -> bool:
    """Whether a file still has these checksums; of files above 1 GiB, only 64 blocks are read."""
    count = min(len(expected), CHECKED_BLOCKS)
    blocks = [number * (len(expected) - 1) // max(count - 1, 1) for number in range(count)]  # includes first and last
    return checksums(path, blocks) == [expected[block] for block in blocks]


def claimed_folder(folder: Path) -> tuple[Path, FolderLock]:
    """A temporary folder beside `folder`, and its lock, which shows other processes that its writer is alive.

    It is locked before it gets the name by which `remove_abandoned` finds it.
    """
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".new", dir=folder.parent))
    lock = FolderLock(fresh)
    lock.acquire()
    temporary = fresh.with_suffix("")
    _claimed.add(temporary)
    os.rename(fresh, temporary)
    lock.moved(temporary)
    return temporary, lock


def remove_abandoned(cache: Path) -> None:
    """Remove half-written folders from a cache if their writer is dead, for example a killed `trimer prepare`."""
    for folder in cache.glob(".*-????????"):
        if folder in _claimed or not TEMPORARY.fullmatch(folder.name):
            continue
        try:
            lock = FolderLock(folder)
            abandoned = lock.acquire() if lock.path.exists() else time.time() - folder.stat().st_mtime > DAY
            lock.release()
        except OSError:  # another process has removed or finished it
            continue
        if abandoned:
            log.info("removing %s, left half-written by a killed process", folder)
            shutil.rmtree(folder, ignore_errors=True)


def read_head(folder: Path) -> dict | None:
    """Content of the manifest file; None unless the store is complete."""
    try:
        head = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        complete = head["store"]["format"] == FORMAT and isinstance(head["manifest"], dict)
        complete = complete and isinstance(head["store"]["rows"], int) and isinstance(head["store"]["columns"], dict)
        complete = complete and (folder / "columns.arrow").stat().st_size == head["store"]["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return head if complete else None


def unwritable(folder: Path, error: OSError) -> InputError:
    """The error for a store that cannot be written."""
    reason = error.strerror or str(error)
    read_only = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    advice = "name another folder (paths.cache=...)" if read_only else "free disk space or name another folder"
    rest = "" if read_only else " (paths.cache=...); the half-written store was removed"
    return InputError(f"{folder} cannot be written ({reason}): {advice}{rest}")
