"""A checkpoint is on the disk before it gets its name, and a failed write leaves the last one unchanged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from trimer.callbacks.checkpoints import WholeFiles
from trimer.errors import CheckpointError
from trimer.files import sync_folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "last.ckpt"


def save(path: Path, value: int) -> None:
    WholeFiles().save_checkpoint({"value": torch.tensor(value)}, path)


@pytest.mark.skipif(os.name != "posix", reason="folders are opened on POSIX systems only")
def test_content_is_synchronized_before_name_and_folder(path, monkeypatch):
    events, sync, replace = [], os.fsync, os.replace

    def synced(number: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{number}")) if Path("/proc/self/fd").exists() else None
        events.append(("sync", place and place.name, place and place.is_file() and place.stat().st_size > 0))
        sync(number)

    def replaced(old, new) -> None:
        events.append(("rename", Path(new).name, torch.load(old)["value"].item()))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    save(path, 3)
    if events[0][1] is None:
        pytest.skip("no /proc: which file was synchronised is not known")
    assert events == [("sync", ".last.ckpt.writing", True), ("rename", "last.ckpt", 3), ("sync", "checkpoints", False)]
    assert torch.load(path)["value"] == 3 and [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_during_synchronization_keeps_the_last_checkpoint(path, monkeypatch):
    save(path, 1)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"the disk is full: .*last\.ckpt could not be written"):
        save(path, 2)
    assert torch.load(path)["value"] == 1 and [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.skipif(os.name != "posix", reason="folders are opened on POSIX systems only")
@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_an_unsupported_folder_sync_is_ignored_but_a_disk_error_is_raised(tmp_path, monkeypatch, number, raises):
    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    if raises:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)
