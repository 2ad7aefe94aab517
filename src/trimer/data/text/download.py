"""Downloads of public files: once, with a progress bar, verified if a checksum is known."""

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
    """Path folder/name of a file, downloaded unless it already exists with this checksum.

    sha256: checksum of the file, if its publisher states one; without it the checksum of the download is logged, so
    that it can be set in a config. name: the last part of the URL by default. Raises InputError if there is no
    connection, the file does not exist, the checksum differs, or the disk is full.
    """
    folder = Path(folder).expanduser()
    name = name or Path(urlsplit(url).path).name
    present = (folder / name).exists()
    bar = _Bar(name)
    pooch.get_logger().setLevel(logging.WARNING)  # the checksum is logged below
    try:
        expected = f"sha256:{sha256}" if sha256 else None
        path = pooch.retrieve(url, expected, name, folder, downloader=HTTPDownloader(progressbar=bar))
    except ValueError as error:  # raised by pooch if the checksum differs
        if "hash" not in str(error):
            raise
        raise InputError(
            f"{url}: the sha256 of the download is not {sha256}; the file may have changed: check its publisher, then "
            "set the new sha256"
        ) from error
    except OSError as error:  # includes the errors of requests
        raise InputError(f"{url} could not be downloaded ({_reason(error)}): {_fix(error, folder, name)}") from error
    finally:
        bar.close()
    if not sha256 and not present:
        log.warning(
            "%s: not verified, since no checksum is set; the sha256 of this copy is %s", path, pooch.file_hash(path)
        )
    return Path(path)


def _reason(error: OSError) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code} {response.reason}"
    return error.strerror or f"{type(error).__name__}: no response"


def _fix(error: OSError, folder: Path, name: str) -> str:
    if getattr(error, "response", None) is not None:
        return "check the URL"
    if error.errno is not None:
        return "free disk space or set paths.data to another folder"
    return f"connect to the network, or put the file there by hand as {folder / name}"


class _Bar:
    """Progress bar with the interface that pooch needs, drawn by rich."""

    def __init__(self, name: str) -> None:
        self.progress = Progress(TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), transient=True)
        self.task = self.progress.add_task(name, total=None)

    @property
    def total(self) -> float | None:
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
