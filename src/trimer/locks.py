"""A folder that one process at a time writes into.

The lock is a record lock of the operating system on a file in that folder (`fcntl.lockf`): it ends with its process,
however that dies, so there is no stale lock to remove. Worker processes that are forked do not hold it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from trimer.errors import ConfigError

log = logging.getLogger(__name__)

# What a file system without locks answers.
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class FolderLock:
    """The lock of a folder, as the file `.lock` in it with the process that holds it."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / ".lock"
        self._file: int | None = None

    def acquire(self) -> bool:
        """Whether this process now holds the lock; False where another one does."""
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
            if not self._current(file):  # its holder removed the file in between
                os.close(file)
                continue
            self._file = file
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} since {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
        return True

    def require(self) -> FolderLock:
        """Acquire the lock; ConfigError that names the process which holds it."""
        if not self.acquire():
            raise ConfigError(f"{self.path.parent} is in use by {self.holder()}: wait until it ends or stop it (kill)")
        return self

    def holder(self) -> str:
        """The process that wrote the file."""
        try:
            return self.path.read_text().strip() or "another process"
        except OSError:
            return "another process"

    def release(self) -> None:
        """Give the lock back and remove its file; nothing where it is not held."""
        if self._file is not None:
            if self._current(self._file):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def moved(self, folder: Path) -> None:
        """The folder was renamed while it was held."""
        self.path = folder / self.path.name

    def _current(self, file: int) -> bool:
        try:
            return os.fstat(file).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False
