"""The files of a cache: checksums that find damage, and what a process that was killed has left half-written."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

from trimer.errors import InputError
from trimer.locks import FolderLock

log = logging.getLogger(__name__)

FORMAT = 1  # of a store
BLOCK = 1 << 24  # bytes that have one checksum
CHECKED_WHOLE = 64  # blocks: of a larger file, so many spread over it are read
DAY = 86400  # seconds, after which a half-written folder without a lock has no writer
TEMPORARY = re.compile(r"\..+-[0-9a-f]{16}-\w{8}")

_claimed: set[Path] = set()  # by this process, which its own locks do not keep out


def checksums(path: Path, blocks: Iterable[int] | None = None) -> list[int]:
    """CRC-32 of the blocks of a file, or of those that are given."""
    sums = []
    with path.open("rb") as file:
        for block in range(-(-path.stat().st_size // BLOCK)) if blocks is None else blocks:
            file.seek(block * BLOCK)
            sums.append(zlib.crc32(file.read(BLOCK)))
    return sums


def unchanged(path: Path, known: list[int]) -> bool:
    """Whether a file has the checksums that it was written with; of more than 1 GiB, 64 blocks are read."""
    count = min(len(known), CHECKED_WHOLE)
    blocks = [number * (len(known) - 1) // max(count - 1, 1) for number in range(count)]  # the first and last too
    return checksums(path, blocks) == [known[block] for block in blocks]


def claim(folder: Path) -> FolderLock:
    """The lock of a temporary folder, which shows others that its writer lives."""
    _claimed.add(folder)
    lock = FolderLock(folder)
    lock.acquire()
    return lock


def remove_abandoned(cache: Path) -> None:
    """Remove from a cache the half-written folders whose writer is dead, as that of a `prepare` that was killed."""
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
            log.info("%s was left half-written by a process that was killed, and is removed", folder)
            shutil.rmtree(folder, ignore_errors=True)


def read_head(folder: Path) -> dict | None:
    """The manifest file, or None unless the store beside it is whole."""
    try:
        head = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        whole = head["store"]["format"] == FORMAT and isinstance(head["manifest"], dict)
        whole = whole and isinstance(head["store"]["rows"], int) and isinstance(head["store"]["columns"], dict)
        whole = whole and (folder / "columns.arrow").stat().st_size == head["store"]["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return head if whole else None


def unwritable(folder: Path, error: OSError) -> InputError:
    """The error for a store that the disk does not take."""
    reason = error.strerror or str(error)
    return InputError(
        f"{folder} cannot be written ({reason}): free disk space or name another folder (paths.cache=...); "
        "the half-written store was removed"
    )
