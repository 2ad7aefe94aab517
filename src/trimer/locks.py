"""Locks, so that one process at a time writes into a folder or a file.

On Linux and macOS a lock is a record lock of the operating system (`fcntl.lockf`): it ends with its process, however
that dies, so there is no stale lock to remove. Worker processes that are forked do not hold it. Windows has no `fcntl`:
there the file `.lock` itself is the lock, and one that a killed process has left must be deleted by hand.
"""

from __future__ import annotations

import errno
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from trimer.errors import ConfigError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

# Errors of a file system without locks.
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class FolderLock:
    """The lock of a folder: the file `.lock` in it, which names the process that holds it."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / ".lock"
        self._file: int | None = None
        self._created = False  # by this process, where there is no fcntl

    def acquire(self) -> bool:
        """Whether this process now holds the lock; False if another one does."""
        if fcntl is None:
            self._created = self._created or self._create()
            return self._created
        while self._file is None:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    os.close(file)
                    if error.errno in (errno.EACCES, errno.EAGAIN):
                        return False
                    raise
                log.warning("%s: this file system has no locks; do not start the same run twice", self.path.parent)
            if not self._is_current(file):  # its holder removed the file in the meantime
                os.close(file)
                continue
            self._file = file
            os.ftruncate(file, 0)
            os.write(file, this_process())
        return True

    def require(self) -> FolderLock:
        """Acquire the lock; ConfigError that names the process which holds it."""
        if not self.acquire():
            stale = f"; if that process has ended, delete {self.path}" if fcntl is None else ""
            raise ConfigError(
                f"{self.path.parent} is in use by {self.holder()}: wait until it ends or stop it (kill){stale}"
            )
        return self

    def holder(self) -> str:
        """The process that wrote the file."""
        try:
            return self.path.read_text().strip() or "another process"
        except OSError:
            return "another process"

    def release(self) -> None:
        """Release the lock and remove its file, if this process holds it."""
        if self._file is not None:
            if self._is_current(self._file):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
        elif self._created:
            self.path.unlink(missing_ok=True)
            self._created = False

    def moved(self, folder: Path) -> None:
        """Follow a folder that was renamed while it was locked."""
        self.path = folder / self.path.name

    def _is_current(self, file: int) -> bool:
        try:
            return os.fstat(file).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False

    def _create(self) -> bool:
        """Create the file; False if it exists. Closed again: Windows renames no folder with an open file."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        os.write(file, this_process())
        os.close(file)
        return True


def lock_file(stream: IO) -> bool:
    """Lock an open file until it is closed; False if another process holds it. Without `fcntl` nothing is locked."""
    if fcntl is None:
        log.warning("%s: this system has no file locks; do not start the same command twice", stream.name)
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def this_process() -> bytes:
    """`process 123 since 2025-03-01T14:05:59+00:00`, the content of a lock file."""
    return f"process {os.getpid()} since {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode()
