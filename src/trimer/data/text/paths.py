"""The files that a setting names: paths and globs, one or several."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from trimer.errors import InputError


def named_paths(paths: str | Sequence[str], wanted: str) -> list[str]:
    """One or several paths as a list; ValueError for none. wanted: what to name, as `a SMILES or CSV file`."""
    named = [paths] if isinstance(paths, str) else list(paths)
    if not named:
        raise ValueError(f"paths is empty: name {wanted}, or a glob")
    return named


def find_files(paths: Sequence[str], wanted: str, folders: bool = False) -> list[Path]:
    """The files (and folders, where these are read too) that paths and globs name, sorted within each glob.

    A path that is there is itself, whatever signs it holds. InputError for one that names nothing.
    """
    found: list[Path] = []
    for pattern in paths:
        expanded = Path(pattern).expanduser()
        matches = [expanded] if expanded.exists() else map(Path, sorted(glob.glob(str(expanded), recursive=True)))
        matches = [path for path in matches if path.is_file() or (folders and path.is_dir())]
        if not matches:
            raise InputError(f"{pattern}: no such file; name {wanted}, or a glob")
        found += matches
    return found
