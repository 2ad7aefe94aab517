"""Settings and limits for reading text: one object for the process, filled from the config group `text`.

The limits bound memory and time: a gzip bomb or an endless line ends the reading with an error, and everything before
it is kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, fields

from trimer.errors import ConfigError

MIB = 1 << 20


@dataclass
class TextSettings:
    """Encoding of text files and limits on their size.

    encoding: of all text files; None: UTF-8, UTF-16 if the file shows it, Windows-1252 for other bytes. max_record_mib:
    longest line or record, in MiB. max_file_mib: largest text, in MiB, of a format that is read as a whole (JSON,
    MassBank). max_ratio: largest ratio of unpacked to compressed size, for files that unpack to more than `FREE` bytes.
    """

    encoding: str | None = None
    max_record_mib: int = 64
    max_file_mib: int = 4096
    max_ratio: int = 100

    @property
    def record_bytes(self) -> int:
        """Longest line or record, in bytes."""
        return self.max_record_mib * MIB

    @property
    def file_bytes(self) -> int:
        """Largest text that is read as a whole, in bytes."""
        return self.max_file_mib * MIB


FREE = 64 * MIB  # bytes that every compressed file may unpack to
settings = TextSettings()


def configure(values: Mapping[str, object] | None) -> None:
    """Apply the values of the config group `text`; ConfigError for an unknown encoding or a limit below 1."""
    new = TextSettings(**{str(name): value for name, value in (values or {}).items()})  # type: ignore[arg-type]
    if new.encoding is not None:
        try:
            codecs.lookup(new.encoding)
        except LookupError:
            raise ConfigError(
                f"text.encoding={new.encoding} is not an encoding of Python: use utf-8, utf-16, latin-1, cp1252, "
                "shift-jis, ..., or null"
            ) from None
    for name in ("max_record_mib", "max_file_mib", "max_ratio"):
        if getattr(new, name) < 1:
            raise ConfigError(f"text.{name}={getattr(new, name)} must be 1 or more")
    for field in fields(new):
        setattr(settings, field.name, getattr(new, field.name))
