"""How text input is read, and its bounds: one object for the process, filled from the config group `text`.

Bounds keep memory and time proportional to honest input: a gzip bomb or an endless line ends the reading with a
sentence, and everything before it is kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, fields

from trimer.errors import ConfigError

MIB = 1 << 20


@dataclass
class TextSettings:
    """encoding: of all text files; null: UTF-8, UTF-16 where the file shows it, Windows-1252 for other bytes.

    max_record_mib: the longest line or record in MiB. max_file_mib: the largest text, in MiB, of a format that is read
    as a whole (JSON, MassBank). max_ratio: how many times its compressed size a file may unpack to, once that is
    more than `FREE` bytes.
    """

    encoding: str | None = None
    max_record_mib: int = 64
    max_file_mib: int = 4096
    max_ratio: int = 100

    @property
    def record_bytes(self) -> int:
        """The longest line or record."""
        return self.max_record_mib * MIB

    @property
    def file_bytes(self) -> int:
        """The largest text that is read as a whole."""
        return self.max_file_mib * MIB


FREE = 64 * MIB  # bytes that any compressed file may unpack to
settings = TextSettings()


def configure(values: Mapping[str, object] | None) -> None:
    """Take the values of the config group `text`; ConfigError for an unknown encoding or a bound below 1."""
    new = TextSettings(**{str(name): value for name, value in (values or {}).items()})  # type: ignore[arg-type]
    if new.encoding is not None:
        try:
            codecs.lookup(new.encoding)
        except LookupError:
            raise ConfigError(
                f"text.encoding={new.encoding} is no encoding that Python knows: use utf-8, utf-16, latin-1, cp1252, "
                "shift-jis, ..., or null"
            ) from None
    for name in ("max_record_mib", "max_file_mib", "max_ratio"):
        if getattr(new, name) < 1:
            raise ConfigError(f"text.{name}={getattr(new, name)} must be 1 or more")
    for field in fields(new):
        setattr(settings, field.name, getattr(new, field.name))
