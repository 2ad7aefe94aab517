"""Files opened for reading, plain or gzipped, with one sentence for each way in which that can fail."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from trimer.errors import InputError


def read_chunks(path: Path, size: int = 1 << 25) -> Iterator[bytes]:
    """The bytes of a file in chunks, decompressed when its name ends in .gz."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            while chunk := file.read(size):
                yield chunk
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}); fetch or compress it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def read_text(path: Path) -> str:
    """The text of a file: UTF-8 with or without a byte-order mark, Latin-1 on the lines that are not UTF-8."""
    return decode(b"".join(read_chunks(path))).removeprefix("\ufeff")


def decode(data: bytes) -> str:
    """UTF-8 where it is, Latin-1 for the lines where it is not (older libraries mix both in one file)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "\n".join(_decode_line(line) for line in data.split(b"\n"))


def _decode_line(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")
