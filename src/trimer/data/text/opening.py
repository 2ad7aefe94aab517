"""Files opened for reading, plain or gzipped, with one sentence for each way in which that can fail."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from trimer.errors import BrokenOff, InputError

GZIP = b"\x1f\x8b"


def read_chunks(path: Path, size: int = 1 << 25, where: Callable[[], str] = lambda: "") -> Iterator[bytes]:
    """The bytes of a file in chunks of at most `size`, decompressed where it is gzipped, whatever its name says.

    Raises BrokenOff after the last chunk that can be read of a gzipped file that breaks off, InputError where there is
    nothing to read. where: asked when a gzipped file breaks off or is damaged; how far its reader has come, as ' at
    record 12'.
    """
    try:
        with open(path, "rb") as file:
            chunks = _inflate if file.peek(2)[:2] == GZIP else _read
            yield from chunks(file, size)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except (EOFError, zlib.error) as error:
        raise BrokenOff(f"{path} is not a whole gzip file ({error}){where()}; fetch or compress it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    while chunk := file.read(size):
        yield chunk


def _inflate(file: BinaryIO, size: int) -> Iterator[bytes]:
    """All members of a gzip file; unlike the gzip module, everything that can be read before it breaks off."""
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    while data := file.read(min(size, 1 << 20)):
        while data:
            if chunk := member.decompress(data, size):
                yield chunk
            data = member.unconsumed_tail
            if member.eof:
                data = member.unused_data.lstrip(b"\0")  # archives may be padded
                member = zlib.decompressobj(zlib.MAX_WBITS | 16) if data else member
    if not member.eof:
        raise EOFError("it ends early")


def read_text(path: Path) -> str:
    """The text of a file: UTF-8 with or without a byte-order mark, Latin-1 on the lines that are not UTF-8."""
    return _text(read_chunks(path))


def read_text_so_far(path: Path) -> tuple[str, BrokenOff | None]:
    """The text of a file, and the complaint about a gzipped file that breaks off after this text."""
    chunks: list[bytes] = []
    try:
        chunks.extend(read_chunks(path))
    except BrokenOff as error:
        return _text(chunks), error
    return _text(chunks), None


def _text(chunks: Iterable[bytes]) -> str:
    return decode(b"".join(chunks)).removeprefix("\ufeff")


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


def open_text(path: Path) -> TextIO:
    """Open a text file, gzipped or not, whatever its name says."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
    zipped = file.peek(2)[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.open(file) if zipped else file, encoding="utf-8-sig", newline="")


def readable_lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a file; a broken archive or other encoding is told with the line where it begins."""
    number = 0
    try:
        for line in file:
            number += 1
            yield line
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise InputError(f"{path} ends early or is damaged after line {number} ({error}): fetch it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, after line {number}: not UTF-8 text ({error.reason}): convert the file") from error
