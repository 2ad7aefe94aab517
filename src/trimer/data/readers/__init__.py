"""Spectra from files of any common format, into one table.

Each reader keeps every record of its file, in order. One that cannot be used has its reason in the column `problem`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trimer.data.readers.gnps_json import read_gnps_json
from trimer.data.readers.massbank import read_massbank
from trimer.data.readers.massspecgym import read_massspecgym
from trimer.data.readers.mgf import read_mgf
from trimer.data.readers.msp import read_msp
from trimer.data.readers.mzml import read_mzml
from trimer.data.readers.mzxml import read_mzxml
from trimer.data.spectra import SpectrumTable
from trimer.data.text.compression import plain_name
from trimer.errors import InputError

SUFFIXES: dict[str, Callable[[Path], SpectrumTable]] = {
    ".mgf": read_mgf,
    ".msp": read_msp,
    ".mzml": read_mzml,
    ".mzxml": read_mzxml,
    ".json": read_gnps_json,
    ".tsv": read_massspecgym,
    ".txt": read_massbank,
}

__all__ = ["SUFFIXES", "read_spectra"]


def read_spectra(path: str | Path) -> SpectrumTable:
    """All spectra of a file, or of a folder of MassBank records.

    The suffix tells the format; that of a compression may follow it.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    if path.is_dir():
        return read_massbank(path)
    suffix = Path(plain_name(path).lower()).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: '{suffix or path.name}' is no known format; known are {', '.join(SUFFIXES)} (also with .gz, "
            ".bz2, .xz or .zip), and folders of MassBank records"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; write or download it again")
    table = SUFFIXES[suffix](path)
    if not len(table):
        raise InputError(f"{path} holds no spectrum; is it really a {suffix} file?")
    return table
