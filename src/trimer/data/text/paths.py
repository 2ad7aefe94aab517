"""Files named by a setting: one or several paths and globs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from trimer.errors import InputError


class NamedFiles:
    """Base of sources whose setting `paths` names files or globs. wanted: what they are, for messages."""

    paths: list[str]
    wanted: str

    def files(self) -> list[Path]:
        """The files that the paths name, sorted within each glob."""
        return find_files(self.paths, self.wanted)


class DownloadedFile(NamedFiles):
    """Base of sources of one published file, before the base that reads it: the copy at `path`, or a download.

    folder: where the download is kept. sha256: checksum of the file; None if its publisher states none.
    """

    path: str | None
    folder: str
    url: str
    sha256: str | None = None

    def files(self) -> list[Path]:
        """The local copy, downloaded if it does not exist yet."""
        if self.path is None:
            from trimer.data.text.download import download

            self.paths = [str(download(self.url, self.folder, sha256=self.sha256))]
        return super().files()


def named_paths(paths: str | Sequence[str], wanted: str) -> list[str]:
    """One or several paths as a list; ValueError for an empty one. wanted: for the message, `a SMILES or CSV file`."""
    names = [paths] if isinstance(paths, str) else list(paths)
    if not names:
        raise ValueError(f"paths is empty: name {wanted}, or a glob")
    return names


def find_files(paths: Sequence[str], wanted: str, folders: bool = False) -> list[Path]:
    """The files that paths and globs name, sorted within each glob; with `folders`, also the folders.

    An existing path is not read as a glob, even if it contains `*` or `[`. InputError for a pattern without a match.
    """
    files: list[Path] = []
    for pattern in paths:
        matches = [path for path in matching_files(pattern) if path.is_file() or (folders and path.is_dir())]
        if not matches:
            raise InputError(f"{pattern}: no such file; name {wanted}, or a glob")
        files += matches
    return files


def matching_files(pattern: str | Path) -> list[Path]:
    """The files and folders that a path or a glob names, sorted."""
    path = Path(pattern).expanduser()
    return [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
