"""Atomic output files: they are written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: str | Path, temporary: str | None = None, durable: bool = False) -> Iterator[Path]:
    """A temporary path to write to: it is renamed to `path` when the block ends, and removed if the block raises.

    temporary: name of the temporary file in the folder of `path`; by default unique to this process. durable: sync the
    content to disk before the rename, and the rename before returning, so that the file survives a power failure.
    """
    path = Path(path)
    temporary_path = path.with_name(temporary or f".{path.name}.{os.getpid()}")
    try:
        yield temporary_path
        if durable:
            with temporary_path.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(temporary_path, path)
        if durable:
            sync_folder(path.parent)
    finally:
        temporary_path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, atomically: readers see the old or the new content."""
    with written(path) as temporary_path:
        temporary_path.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Sync the file names of a folder to disk; not needed on Windows, which cannot open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # not supported by some network file systems
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
