"""The digest of what files hold, by which the cache knows whether they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from trimer.data.text.settings import settings
from trimer.errors import InputError


def content_digest(paths: Iterable[str | Path]) -> str:
    """sha256 over the contents of files, in the order given, and `text.encoding`; names and dates do not count."""
    digest = hashlib.sha256((settings.encoding or "").encode())
    for path in paths:
        try:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
    return digest.hexdigest()
