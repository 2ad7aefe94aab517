"""Atomic output files: they are written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def temporary_path(path: Path, one_writer: bool = False) -> Path:
    """The hidden path beside `path` under which its content is written before it is renamed.

    one_writer: only one process writes the file, so the name is always the same and the rest of a killed process is
    overwritten; otherwise the name is unique to this process.
    """
    return path.with_name(f".{path.name}.writing" if one_writer else f".{path.name}.{os.getpid()}.writing")


@contextmanager
def written(path: str | Path, one_writer: bool = False, durable: bool = False) -> Iterator[Path]:
    """A temporary path to write to: it is renamed to `path` when the block ends, and removed if the block raises.

    one_writer: see `temporary_path`. durable: sync the content to disk before the rename, and the rename before
    returning, so that the file survives a power failure.
    """
    path = Path(path)
    temporary = temporary_path(path, one_writer)
    try:
        yield temporary
        if durable:
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, atomically: readers see the old or the new content."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> None:
    """Write a CSV file in UTF-8 with a header, atomically. rows: values in the order of the columns, or by column."""
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([row.get(name) for name in columns] if isinstance(row, Mapping) else row)


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
