"""Digests of the contents of files, by which the cache detects changes.

The digest of a large file is stored in the cache together with its size, times and inode, so that the file is read only
once. Any change of a file changes one of them, because the system sets the time of the last change (ctime) itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trimer.data.text.reading_limits import settings
from trimer.errors import InputError
from trimer.files import write_text

LARGE = 1 << 24  # bytes from which a digest is stored: a smaller file is hashed in 20 ms
SETTLED = 2.0  # s since the last change, before which a digest is not stored: file systems have coarse clocks
_open_records: list[dict[str, HashedFile]] = []


@dataclass(frozen=True)
class HashedFile:
    """A file that was hashed: its path as given, its size in bytes, and the SHA-256 of its content."""

    path: str
    bytes: int
    sha256: str


@contextmanager
def hashed_files() -> Iterator[dict[str, HashedFile]]:
    """The files that are hashed inside the block, by their paths as given."""
    record: dict[str, HashedFile] = {}
    _open_records.append(record)
    try:
        yield record
    finally:
        _open_records[:] = [other for other in _open_records if other is not record]


def content_digest(paths: Iterable[str | Path]) -> str:
    """sha256 of the contents of files, in this order, and `text.encoding`; names and dates do not matter."""
    digest = hashlib.sha256((settings.encoding or "").encode())
    for path in paths:
        digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()


def file_digest(path: str | Path) -> str:
    """sha256 of the content of a file, from the cache if a large file has not changed; InputError if unreadable."""
    try:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            state = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
            large = facts.st_size >= LARGE
            sha256 = stored_digest(path, state) if large else None
            if sha256 is None:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                if large and time.time() - max(facts.st_mtime, facts.st_ctime) > SETTLED:
                    store_digest(path, state, sha256)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
    for record in _open_records:
        record[str(path)] = HashedFile(str(path), facts.st_size, sha256)
    return sha256


def stored_digest(path: str | Path, state: list[int]) -> str | None:
    """The digest in the cache for this state of a file (size, times, inode), or None."""
    try:
        stored = json.loads(_place(path).read_text(encoding="utf-8"))
        return str(stored["sha256"]) if stored["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or a damaged one
        return None


def store_digest(path: str | Path, state: list[int], sha256: str) -> None:
    """Write a digest to the cache; a cache that cannot be written is not used."""
    place = _place(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps({"state": state, "sha256": sha256}) + "\n")
    except OSError:
        return


def _place(path: str | Path) -> Path:
    """The file in the cache for the digest of a path."""
    cache = os.environ.get("TRIMER_CACHE") or Path.home() / ".cache" / "trimer"
    name = hashlib.sha256(os.path.realpath(path).encode(errors="surrogateescape")).hexdigest()[:16]
    return Path(cache) / "digests" / f"{name}.json"
