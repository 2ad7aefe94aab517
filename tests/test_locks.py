"""Locks of folders: one process at a time, and dead processes leave no lock."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimer.errors import ConfigError
from trimer.locks import FolderLock

HOLD = """
import sys, time
from trimer.locks import FolderLock
FolderLock(sys.argv[1]).require()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_locked_folder_names_the_process_that_holds_it(tmp_path, holder):
    with pytest.raises(ConfigError, match=rf"is in use by process {holder.pid} since 20.*stop it \(kill\)"):
        FolderLock(tmp_path).require()


def test_the_lock_of_a_dead_process_is_acquired(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").is_file()  # it was left
    lock = FolderLock(tmp_path)
    assert lock.acquire() and lock.holder().startswith(f"process {os.getpid()} ")
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    lock = FolderLock(tmp_path).require()
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    worker.start()
    lock.release()
    assert subprocess.run([sys.executable, "-c", HOLD.replace("60", "0"), str(tmp_path)], check=False).returncode == 0
    worker.kill()
    worker.join()


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert FolderLock(Path(tmp_path)).acquire()
    assert "has no locks" in caplog.text
