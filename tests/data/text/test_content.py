"""Digests of files: stored for large files that have not changed, and recorded for the run folder."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from trimer.data.text import content
from trimer.errors import InputError


@pytest.fixture
def large_file(tmp_path, monkeypatch):
    """A file that counts as large and was written a minute ago."""
    monkeypatch.setattr(content, "LARGE", 4)
    monkeypatch.setattr(content, "SETTLED", -1.0)
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "spectra.mgf"
    path.write_bytes(b"first")
    return path


@pytest.fixture
def reads(monkeypatch):
    """The number of files that were read and hashed."""
    counted = []
    digest = hashlib.file_digest
    monkeypatch.setattr(content.hashlib, "file_digest", lambda *words: counted.append(1) or digest(*words))
    return counted


def test_a_large_file_is_hashed_once(large_file, reads):
    expected = hashlib.sha256(b"first").hexdigest()
    assert content.file_digest(large_file) == content.file_digest(str(large_file)) == expected
    assert len(reads) == 1


def test_a_changed_file_of_the_same_size_and_date_is_hashed_again(large_file, reads):
    content.file_digest(large_file)
    facts = large_file.stat()
    time.sleep(0.02)  # the clock of the file system is coarse
    large_file.write_bytes(b"other")
    os.utime(large_file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert content.file_digest(large_file) == hashlib.sha256(b"other").hexdigest()
    assert len(reads) == 2


def test_a_file_that_was_just_written_is_not_stored(large_file, reads, monkeypatch):
    monkeypatch.setattr(content, "SETTLED", 60.0)
    content.file_digest(large_file)
    content.file_digest(large_file)
    assert len(reads) == 2


def test_a_damaged_or_unwritable_store_is_not_used(large_file, monkeypatch, tmp_path):
    content.file_digest(large_file)
    (stored,) = (tmp_path / "cache" / "digests").iterdir()
    stored.write_text("{")
    assert content.file_digest(large_file) == hashlib.sha256(b"first").hexdigest()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "file"))
    assert content.file_digest(large_file) == hashlib.sha256(b"first").hexdigest()


def test_hashed_files_are_recorded_within_the_block(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    content.content_digest([tmp_path / "a"])
    with content.hashed_files() as outer:
        with content.hashed_files() as inner:
            content.content_digest([tmp_path / "b"])
        content.content_digest([tmp_path / "c"])
    assert [path[-1] for path in inner] == ["b"]
    assert [path[-1] for path in outer] == ["b", "c"]
    file = outer[str(tmp_path / "c")]
    assert (file.bytes, file.sha256) == (1, hashlib.sha256(b"c").hexdigest())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        content.content_digest([tmp_path / "none.csv"])
