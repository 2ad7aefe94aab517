"""Readers of spectra in any common file format.

Each reader returns every record of its file, in order. Unusable records have the reason in the column `problem`.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from trimer.data.spectra.readers.gnps_json import read_gnps_json
from trimer.data.spectra.readers.massbank import read_massbank
from trimer.data.spectra.readers.massspecgym import read_massspecgym
from trimer.data.spectra.readers.mgf import read_mgf
from trimer.data.spectra.readers.msp import read_msp
from trimer.data.spectra.readers.mzml import read_mzml
from trimer.data.spectra.readers.mzxml import read_mzxml
from trimer.data.spectra.readers.record_table import stem
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.compression import plain_name
from trimer.data.text.file_kinds import EMPTY, PREDICTING, START, file_kind, first_line
from trimer.data.text.opening import read_chunks
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

XML = {".mzml": "mzML", ".mzxml": "mzXML"}
PICKLES = (".pickle", ".pkl")  # written by matchms

__all__ = ["SUFFIXES", "read_spectra", "spectrum_files"]

log = logging.getLogger(__name__)


def read_spectra(path: str | Path) -> SpectrumTable:
    """All spectra of a file, of a folder and its subfolders, or of the files and folders that match a glob.

    The suffix determines the format; a compression suffix may follow it. If one of several files cannot be read, the
    table has a row with the reason.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return _read_file(path)
    files = spectrum_files(path)
    if path.is_dir() and all(_suffix(file) == ".txt" for file in files):
        return read_massbank(path)
    return _read_files(files)


def spectrum_files(path: str | Path) -> list[Path]:
    """The files of spectra that a path, a folder or a glob names, sorted; InputError if there is none.

    In folders, only files with a known suffix count.
    """
    path = Path(path).expanduser()
    matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    if not matches:
        raise InputError(f"{path} does not exist; check the path")
    files: list[Path] = []
    for match in matches:
        if match.is_dir():
            files += [file for file in sorted(match.rglob("*")) if file.is_file() and _suffix(file) in SUFFIXES]
        else:
            files.append(match)
    if not files:
        raise InputError(f"{path} holds no file of spectra; known formats are {', '.join(SUFFIXES)}")
    return list(dict.fromkeys(files))


def _suffix(path: Path) -> str:
    """The suffix of the file format in lower case, without a compression suffix."""
    return Path(plain_name(path).lower()).suffix


def _read_file(path: Path) -> SpectrumTable:
    suffix = _suffix(path)
    if suffix in PICKLES:
        raise InputError(
            f"{path}: pickles are not read, because loading one can run any code; if you trust the file, load it with "
            "matchms and save it as MGF, MSP or JSON"
        )
    _check_content(path, suffix)
    table = SUFFIXES[suffix](path)
    if not len(table):
        raise InputError(f"{path} holds no spectrum; check that it is a {suffix} file")
    return table


def _check_content(path: Path, suffix: str) -> None:
    """InputError if a file is empty, has an unknown suffix, or is recognised as something else than spectra."""
    try:
        start = next(read_chunks(path, START), b"")
    except InputError:
        if suffix in SUFFIXES:
            raise
        start = b"?"  # binary: its suffix is named below
    if not start.strip():
        raise InputError(f"{path} {EMPTY}")
    kind = file_kind(path, start)
    looks = f"it looks like {kind.name}, and " if kind else ""
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: {looks}'{suffix or path.name}' is not a known format of spectra; use {', '.join(SUFFIXES)} (also "
            "with .gz, .bz2, .xz or .zip), and folders of them"
        )
    if kind and kind.records in ("molecules", "proteins"):
        raise InputError(f"{path} looks like {kind.name}, not of spectra. To use the file, {PREDICTING[kind.records]}")
    if suffix in XML and not start.lstrip().startswith(b"<"):
        rename = f": it looks like {kind.name}, rename it with that suffix" if kind else "; convert or copy it again"
        raise InputError(f"{path} is not an {XML[suffix]} file (it begins with '{first_line(start)}'){rename}")


def _read_files(files: Sequence[Path]) -> SpectrumTable:
    tables: list[SpectrumTable] = []
    errors: list[InputError] = []
    for file in files:
        try:
            tables.append(_read_file(file))
        except InputError as error:
            if _suffix(file) == ".txt" and len(files) > 1:  # a text file that is not a spectrum
                log.warning("%s", error)
                continue
            errors.append(error)
            row = {"id": [stem(file)], "file": [str(file)], "problem": [str(error)]}
            tables.append(SpectrumTable.build((), (), (0, 0), row))
    if len(errors) == len(tables):
        raise errors[0] if errors else InputError(f"{files[0].parent} holds no spectrum among {len(files)} files")
    return SpectrumTable.concatenate(tables)
