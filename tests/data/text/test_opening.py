"""Gzipped files, however they were made and wherever they break off."""

import gzip

import pytest

from trimer.data.text.opening import read_chunks
from trimer.errors import InputError

TEXT = b"".join(b"line %d\n" % i for i in range(20_000))


@pytest.mark.parametrize("size", [1, 1000, 1 << 22])
def test_members_and_padding(tmp_path, size):
    path = tmp_path / "text"  # the content tells that it is gzipped
    text = TEXT[:3000] if size == 1 else TEXT
    path.write_bytes(gzip.compress(text[:1000]) + gzip.compress(b"") + gzip.compress(text[1000:]) + b"\0" * 512)
    chunks = list(read_chunks(path, size))
    assert b"".join(chunks) == text
    assert max(map(len, chunks)) <= size


def test_a_small_file_that_unpacks_to_a_large_one_comes_in_chunks(tmp_path):
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    chunks = list(read_chunks(path, 1 << 16))
    assert sum(map(len, chunks)) == 10_000_000 and max(map(len, chunks)) <= 1 << 16


def test_everything_before_the_break_is_given(tmp_path):
    path = tmp_path / "text.gz"
    whole = gzip.compress(TEXT)
    path.write_bytes(whole[: len(whole) // 2])
    chunks: list[bytes] = []
    with pytest.raises(InputError, match=r"not a whole gzip file \(it ends early\) at chunk \d+; fetch"):
        chunks.extend(read_chunks(path, 1 << 12, lambda: f" at chunk {len(chunks)}"))
    found = b"".join(chunks)
    assert TEXT.startswith(found) and len(found) > len(TEXT) // 3


def test_damage_is_told(tmp_path):
    path = tmp_path / "text.gz"
    whole = bytearray(gzip.compress(TEXT))
    whole[-6] ^= 1  # of the checksum
    path.write_bytes(whole)
    with pytest.raises(InputError, match="not a whole gzip file"):
        list(read_chunks(path))
    path.write_bytes(gzip.compress(TEXT) + b"something else")
    with pytest.raises(InputError, match="not a whole gzip file"):
        list(read_chunks(path))
