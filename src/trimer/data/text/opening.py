"""Reading of text files, compressed or not, in any encoding, with a clear error for each failure.

All text is read by `read_chunks` (bytes), `read_lines`, `read_blocks` (records) or `read_text`. They return UTF-8
without a byte-order mark, keep everything before the end of a truncated file, and obey the limits in
`trimer.data.text.reading_limits`.
"""

from __future__ import annotations

import codecs
import io
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from trimer.data.text.compression import DAMAGE, format_of, unpack
from trimer.data.text.reading_limits import settings
from trimer.errors import BrokenOff, InputError

log = logging.getLogger(__name__)

CHUNK = 1 << 20
BINARY = (b"PAR1", b"\x89HDF")  # Parquet and HDF5 are never text, whatever text.encoding says
CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b"))  # characters that text does not have
LOOKED_AT, MOST_CONTROLS, SHARE = 8_192, 15, 0.02  # bytes of a file, and how many of them may be such characters
FALLBACK = "trimer-cp1252"
MOST_WARNED = 10_000  # paths remembered, so that the memory of a server is bounded

_warned: set[str] = set()  # files whose encoding this process has warned of


def _fallback(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not UTF-8 as Windows-1252, or as Latin-1 where that has no character."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data = error.object[error.start : error.end]
    try:
        return data.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return data.decode("latin-1"), error.end


codecs.register_error(FALLBACK, _fallback)


def nowhere() -> str:
    """Default for `where`: no position to report in a message."""
    return ""


def read_chunks(path: Path, size: int = 1 << 25, where: Callable[[], str] = nowhere) -> Iterator[bytes]:
    """The content of a file as UTF-8, decompressed, at most about `size` bytes at a time.

    Compression and UTF-16 are recognised by the content. where: function that returns the current position for error
    messages, for example ' at record 12'. BrokenOff after the last chunk of a compressed file that is truncated or
    unpacks to too much; InputError if the file cannot be read, or is binary.
    """
    chunks = _unpacked(path, size, where)
    start = next(chunks, b"")
    if not start:
        return
    encoding = _encoding_of(start)
    if encoding is None:
        _check_text(path, start)
        yield start.removeprefix(codecs.BOM_UTF8)
        yield from chunks
    else:
        yield from _transcoded(path, start, chunks, encoding)


def _unpacked(path: Path, size: int, where: Callable[[], str]) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            kind = format_of(file.peek(6)[:6])
            yield from unpack(path, file, kind, size) if kind else _plain(file, size)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except DAMAGE as error:
        raise BrokenOff(
            f"{path} is not a complete {kind} file ({error}){where()}; download or compress it again"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (RuntimeError, NotImplementedError) as error:  # raised by zipfile for unknown methods
        raise InputError(f"{path} cannot be unpacked ({error}): unpack it first") from None


def _plain(file: BinaryIO, size: int) -> Iterator[bytes]:
    while chunk := file.read(size):
        yield chunk


def _encoding_of(start: bytes) -> str | None:
    """The source encoding: `text.encoding`, or UTF-16 if a byte-order mark or zero bytes show it; else None."""
    if start.startswith(BINARY):
        return None
    if settings.encoding is not None:
        return settings.encoding
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = start[:1000]
    for encoding, zeros, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if len(head) > 3 and zeros.count(0) > 0.8 * len(zeros) and letters.count(0) == 0:
            return encoding
    return None


def _check_text(path: Path, start: bytes) -> None:
    """InputError if the start of a file has more control characters than text has."""
    head = start[:LOOKED_AT]
    controls = len(head) - len(head.translate(None, CONTROLS))
    if controls > max(MOST_CONTROLS, SHARE * len(head)) and not start.startswith(BINARY):
        raise InputError(f"{path} is a binary file, not text: check that it is the right file, with its own suffix")


def _transcoded(path: Path, start: bytes, rest: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, first = 0, True
    chunk: bytes | None = start
    while chunk is not None:
        following = next(rest, None)
        try:
            text = decoder.decode(chunk, final=following is None)
        except UnicodeError as error:
            line = lines + 1 + _before(chunk, error, encoding).count("\n")
            raise InputError(
                f"{path}, line {line}: it is not {encoding} text ({getattr(error, 'reason', error)}): set "
                "text.encoding to the encoding of the file, for example text.encoding=latin-1"
            ) from None
        lines += text.count("\n")
        text = text.removeprefix("\ufeff") if first else text
        first = False
        if text:
            yield text.encode("utf-8", "surrogatepass")
        chunk = following


def _before(chunk: bytes, error: UnicodeError, encoding: str) -> str:
    return chunk[: getattr(error, "start", 0)].decode(encoding, "ignore")


def read_lines(path: Path, size: int = CHUNK) -> Iterator[str]:
    """The lines of a text file with their line ends (LF, CRLF or CR); bytes that are not UTF-8 are Windows-1252.

    BrokenOff with the last complete line for a truncated file and for a line that is too long.
    """
    number, warned, rest = 0, False, b""
    chunks = read_chunks(path, size, lambda: f" after line {number}" if number else "")
    for chunk in chain(chunks, [None]):
        data = rest + (chunk or b"")
        # the last line may continue in the next chunk, and a CR at its end may be half of a CRLF
        end = len(data) if chunk is None else max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        rest, complete = data[end:], data[:end]
        warned = warned or _warn_of_encoding(path, complete, number)
        for line in io.StringIO(decode(complete), newline=""):
            number += 1
            yield line
        _check_length(path, "line", rest, number + 1)


def lines_until_break(path: Path, broken: list[BrokenOff]) -> Iterator[tuple[int, str]]:
    """Number and stripped text of each line; at the end of a truncated file, the error is added to `broken`."""
    try:
        for number, line in enumerate(read_lines(path), 1):
            yield number, line.strip()
    except BrokenOff as error:
        broken.append(error)


def _warn_of_encoding(path: Path, data: bytes, lines: int) -> bool:
    """Warn of the first line that is not UTF-8; returns whether there is one. lines: number of lines before."""
    try:
        data.decode()
        return False
    except UnicodeDecodeError as error:
        before = (data[: error.start] + b"x").splitlines()
        begin = error.start + 1 - len(before[-1])
    if str(path) in _warned:  # by an earlier pass over the file
        return True
    if len(_warned) >= MOST_WARNED:
        _warned.clear()
    _warned.add(str(path))
    log.warning(
        "%s, line %d is not UTF-8 and is read as Windows-1252: '%s'; set text.encoding if that is wrong",
        path,
        lines + len(before),
        decode(data[begin : begin + 200].splitlines()[0]).strip()[:60],
    )
    return True


def _check_length(path: Path, what: str, rest: bytes | bytearray, line: int) -> None:
    if len(rest) > settings.record_bytes:
        raise BrokenOff(
            f"{path}: the {what} that begins on line {line} is longer than {settings.max_record_mib} MiB: check "
            "that the file has the right format, or raise text.max_record_mib"
        )


def read_blocks(
    path: Path, mark: bytes, size: int, where: Callable[[], str] = nowhere, any_case: bool = False
) -> Iterator[bytes]:
    """The content of a text file in blocks of complete records, which begin with `mark` at the start of a line.

    any_case: the mark may have any case; pass it in lower case. Each block has about `size` bytes, or one record, with
    LF line ends; the last block ends with the file. BrokenOff for a truncated file, with its incomplete record as
    `unfinished`, and for a record that is too long. Time is linear in the size of the file.
    """
    begin = b"\n" + mark
    rest, line = bytearray(), 1
    carriage = False
    try:
        for number, chunk in enumerate(read_chunks(path, size, where)):
            if number == 0:  # classic Mac OS ends lines with CR
                carriage = b"\r" in chunk[:-1] and b"\n" not in chunk
            if carriage:
                chunk = chunk.replace(b"\r", b"\n")
            seen = max(len(rest) - len(begin) + 1, 0)
            rest += chunk
            fresh = rest[seen:]
            start = (fresh.lower() if any_case else fresh).rfind(begin)
            if start >= 0:
                block = bytes(rest[: seen + start + 1])
                del rest[: seen + start + 1]
                line += block.count(b"\n")
                yield block
            _check_length(path, "record", rest, line)
    except BrokenOff as error:
        if len(rest) <= settings.record_bytes:
            error.unfinished = bytes(rest)
        raise
    if rest:
        yield bytes(rest)


def read_text(path: Path) -> str:
    """The text of a whole file: UTF-8, other bytes as Windows-1252; at most text.max_file_mib."""
    return _text(path, read_chunks(path))


def read_text_so_far(path: Path) -> tuple[str, BrokenOff | None]:
    """The text of a file up to its truncated end, and the error if it is truncated."""
    chunks: list[bytes] = []
    try:
        chunks.extend(read_chunks(path))
    except BrokenOff as error:
        return _text(path, chunks), error
    return _text(path, chunks), None


def _text(path: Path, chunks: Iterable[bytes]) -> str:
    kept: list[bytes] = []
    total = 0
    for chunk in chunks:
        kept.append(chunk)
        total += len(chunk)
        if total > settings.file_bytes:
            raise InputError(
                f"{path} holds more than {settings.max_file_mib} MiB of text, and this format is read as a whole: "
                "split it, or raise text.max_file_mib"
            )
    data = b"".join(kept)
    _warn_of_encoding(path, data, 0)
    return decode(data)


def decode(data: bytes) -> str:
    """Decode UTF-8, and other bytes as Windows-1252 (older libraries mix both in one file)."""
    return data.decode("utf-8", FALLBACK)


def broken_end(error: BrokenOff) -> str:
    """The problem text of the row that represents the lost end of a truncated file."""
    return f"the file is truncated here, so the rest is lost: {error}"


class _ChunkStream(io.RawIOBase):
    """A raw stream over chunks of bytes; seeking backwards starts again from the beginning."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self.make = chunks
        self.chunks = chunks()
        self.rest = b""
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a compressed file is not known")
        target = offset + (self.position if whence == io.SEEK_CUR else 0)
        if target < self.position:
            self.chunks, self.rest, self.position = self.make(), b"", 0
        while self.position < target and self.readinto(bytearray(min(CHUNK, target - self.position))):
            pass
        return self.position

    def readinto(self, buffer) -> int:
        if not self.rest:
            self.rest = next(self.chunks, b"")
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        self.position += count
        return count


def open_bytes(path: Path) -> io.BufferedReader:
    """A decompressed but not decoded file, for XML parsers; BrokenOff as in `read_chunks`."""
    return io.BufferedReader(_ChunkStream(lambda: _unpacked(path, CHUNK, nowhere)))
