"""Public files from their publishers: fetched once, with a progress bar, checked where a checksum is stated."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

import pooch
from pooch.downloaders import HTTPDownloader
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from trimer.errors import InputError

log = logging.getLogger(__name__)


def download(url: str, folder: str | Path, sha256: str | None = None, name: str | None = None) -> Path:
    """Return folder/name, fetched from the address unless it is already there and fits the checksum.

    sha256: of the file, where its publisher states one; without it the digest of what came is logged, so that it can be
    written into a config. name: the last part of the address by default. Raises InputError when there is no connection,
    when the publisher has no such file, when the checksum differs, and when the disk is full.
    """
    folder = Path(folder).expanduser()
    name = name or Path(urlsplit(url).path).name
    present = (folder / name).exists()
    bar = _Bar(name)
    pooch.get_logger().setLevel(logging.WARNING)  # the digest is logged below, in our words
    try:
        known = f"sha256:{sha256}" if sha256 else None
        path = pooch.retrieve(url, known, name, folder, downloader=HTTPDownloader(progressbar=bar))
    except ValueError as error:  # pooch's error of a checksum that differs
        if "hash" not in str(error):
            raise
        raise InputError(
            f"{url}: what came has another sha256 than {sha256}; the file may have changed: compare with its "
            "publisher, then set the new sha256"
        ) from error
    except OSError as error:  # requests' errors are OSErrors too
        raise InputError(f"{url} could not be fetched ({_reason(error)}): {_fix(error, folder, name)}") from error
    finally:
        bar.close()
    if not sha256 and not present:
        log.warning(
            "%s: no checksum is stated by the publisher; sha256 of this copy is %s", path, pooch.file_hash(path)
        )
    return Path(path)


def _reason(error: OSError) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code} {response.reason}"
    return error.strerror or f"{type(error).__name__}: no answer"


def _fix(error: OSError, folder: Path, name: str) -> str:
    if getattr(error, "response", None) is not None:
        return "check the address"
    if error.errno is not None:
        return "free disk space or set paths.data to another folder"
    return f"connect to the network, or put the file there by hand as {folder / name}"


class _Bar:
    """What pooch wants of a progress bar, drawn by rich."""

    def __init__(self, name: str) -> None:
        self.progress = Progress(TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), transient=True)
        self.task = self.progress.add_task(name, total=None)

    @property
    def total(self) -> int | None:
        return self.progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self.progress.update(self.task, total=size or None)
        self.progress.start()

    def update(self, step: int) -> None:
        self.progress.advance(self.task, step)

    def reset(self) -> None:
        self.progress.update(self.task, completed=0)

    def close(self) -> None:
        self.progress.stop()
