"""Spectra from files of any common format, into one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trimer.data.readers.mgf import read_mgf
from trimer.data.spectra import SpectrumTable
from trimer.errors import InputError

SUFFIXES: dict[str, Callable[[Path], SpectrumTable]] = {
    ".mgf": read_mgf,
}


def read_spectra(path: str | Path) -> SpectrumTable:
    """All spectra of a file, in its order, the unusable ones with their problem; the suffix tells the format."""
    path = Path(path)
    name = path.name.lower().removesuffix(".gz")
    reader = SUFFIXES.get(Path(name).suffix)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if reader is None:
        raise InputError(f"{path}: the suffix '{path.suffix}' is no known format; known are {', '.join(SUFFIXES)}")
    return reader(path)
