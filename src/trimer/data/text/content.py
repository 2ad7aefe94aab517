"""Digest of the contents of files, by which the cache detects changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from trimer.data.text.settings import settings
from trimer.errors import InputError


def content_digest(paths: Iterable[str | Path]) -> str:
    """sha256 of the contents of files, in this order, and `text.encoding`; names and dates do not matter."""
    digest = hashlib.sha256((settings.encoding or "").encode())
    for path in paths:
        try:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
    return digest.hexdigest()
