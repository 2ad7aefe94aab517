"""Reading of compressed files, recognised by their content: gzip, bzip2, xz and zip.

A truncated file is read up to its last readable byte. A stream is one compressed block of data; gzip, bzip2 and xz
files may contain several, one after another.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from trimer.counts import counted
from trimer.data.text.reading_limits import FREE, settings
from trimer.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
READ = 1 << 20


class BombError(Exception):
    """A file unpacks to more than text.max_ratio times its size."""


class _Gzip:
    """zlib decompressor with the interface of those of bz2 and lzma."""

    def __init__(self) -> None:
        self.stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.rest = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self.stream.eof

    @property
    def unused_data(self) -> bytes:
        return self.stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        chunk = self.stream.decompress(self.rest + data, max_length)
        self.rest = self.stream.unconsumed_tail
        self.needs_input = not self.rest and len(chunk) < max_length
        return chunk


# first bytes -> name, function that makes a decompressor of one stream
FORMATS: dict[bytes, tuple[str, Callable[[], Any]]] = {
    b"\x1f\x8b": ("gzip", _Gzip),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMADecompressor),
}
ZIP = b"PK\x03\x04"
OFFICE = ("[Content_Types].xml", "META-INF/manifest.xml")  # files in documents of Excel and of LibreOffice
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, BombError)


def format_of(start: bytes) -> str | None:
    """gzip, bzip2, xz or zip, by the first six bytes of a file; None for other files."""
    if start.startswith(ZIP):
        return "zip"
    return next((name for magic, (name, _) in FORMATS.items() if start.startswith(magic)), None)


def unpack(path: Path, file: BinaryIO, kind: str, size: int) -> Iterator[bytes]:
    """The content of a compressed file, at most `size` bytes at a time; raises one of DAMAGE at a damaged end."""
    if kind == "zip":
        pieces = _unzip(path, file, size)
    else:
        make = next(make for name, make in FORMATS.values() if name == kind)
        pieces = _streams(file, make, size)
    total = 0
    packed = path.stat().st_size
    for piece in pieces:
        total += len(piece)
        if total > max(FREE, settings.max_ratio * packed):
            raise BombError(f"it unpacks to more than {settings.max_ratio} times its size; text.max_ratio allows more")
        yield piece


def _streams(file: BinaryIO, make: Callable[[], Any], size: int) -> Iterator[bytes]:
    """All streams of a file; unlike Python's modules, this yields everything readable before a truncated end."""
    stream = make()
    while data := file.read(min(size, READ)):
        while data:
            if stream.eof:
                data = data.lstrip(b"\0")  # archives may be padded
                if not data:
                    break
                stream = make()
            yield from _decompressed(stream, data, size)
            data = stream.unused_data if stream.eof else b""
    if not stream.eof:
        raise EOFError("it ends early")


def _decompressed(stream: Any, data: bytes, size: int) -> Iterator[bytes]:
    """The decompressed form of more bytes of a stream, at most `size` bytes at a time."""
    while True:
        try:
            chunk = stream.decompress(data, size)
        except OSError as error:  # raised by bz2 for a damaged stream
            raise EOFError(str(error).lower()) from None
        if chunk:
            yield chunk
        if stream.eof or stream.needs_input:
            return
        data = b""


def _unzip(path: Path, file: BinaryIO, size: int) -> Iterator[bytes]:
    with opened_zip(path, file) as (archive, member), archive.open(member) as content:
        while chunk := content.read(size):
            yield chunk


@contextmanager
def opened_zip(path: Path, file: BinaryIO) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """An archive and its only file; InputError if it cannot be read, EOFError if it is damaged.

    `zipfile` raises errors of many types for damaged archives: OSError for offsets outside of the file, ValueError and
    struct.error for wrong fields.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive, zip_member(path, archive)
    except NotImplementedError as error:
        raise InputError(
            f"{path} is a zip archive that is compressed by a method which is not read ({error}): compress the file "
            "again, as gzip or as zip with deflate"
        ) from None
    except (EOFError, OSError, ValueError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise EOFError(str(error) or "it ends early") from None


def zip_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The only file in a zip archive; InputError for none, several, one with a password, or an Excel workbook."""
    members = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    if any(info.filename in OFFICE for info in members):
        raise InputError(f"{path} is a document of Excel, LibreOffice or the like: save its table as CSV")
    if len(members) != 1:
        names = ", ".join(info.filename for info in members[:5]) or "none"
        files = counted(len(members), "files")
        raise InputError(f"{path} is a zip archive of {files} ({names}): unpack it and name the files")
    if members[0].flag_bits & 1:
        raise InputError(f"{path} is a zip archive with a password: unpack it first")
    return members[0]


def plain_name(path: Path) -> str:
    """File name without its compression suffix, or the name of the only file in a zip archive."""
    suffix = path.suffix.lower()
    if suffix == ".zip" and path.is_file() and zipfile.is_zipfile(path):
        with suppress(EOFError), path.open("rb") as file, opened_zip(path, file) as (_, member):
            return Path(member.filename).name  # a damaged archive is reported when its content is read
    return path.name[: -len(suffix)] if suffix in SUFFIXES else path.name
