"""Output files that are whole or not there: they are written beside their place under another name, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: str | Path, temporary: str | None = None, durable: bool = False) -> Iterator[Path]:
    """The path to write to; it becomes `path` when the block ends, and is removed when the block raises.

    temporary: its name, in the folder of `path`; by default one that no other process writes to. durable: the content
    is on the disk before the rename, and the rename before this returns, so that the file survives a loss of power.
    """
    path = Path(path)
    beside = path.with_name(temporary or f".{path.name}.{os.getpid()}")
    try:
        yield beside
        if durable:
            with beside.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(beside, path)
        if durable:
            sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8: a reader never sees half of it."""
    with written(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows cannot open a folder and does not need to."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:  # some network file systems cannot
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)
