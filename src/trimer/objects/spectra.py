"""Tables of spectra from matchms `Spectrum` objects, arrays, dictionaries and DataFrames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trimer.data.spectra.readers.record_table import Records
from trimer.data.spectra.spectrum_record import Spectrum
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import InputError
from trimer.objects.frames import NAME, columns_of, package_of, text_of

MZ = ("mz", "m/z", "mzs", "m/z array", "mz_array", "peaks_mz")
INTENSITY = ("intensity", "intensities", "intensity array", "intensity_array", "peaks_intensity")
PEAKS = ("peaks", "peaks_json")
EXPECTED = "give a matchms Spectrum, a dictionary with mz and intensity, or (m/z, intensity, precursor m/z, adduct)"
_BETWEEN = re.compile(r"[,;\s]+")


def spectra_of(values: Any) -> SpectrumTable:
    """The spectra of Python values, in order; an unusable one has the reason in the column `problem`.

    values: one spectrum or several. A spectrum is a matchms `Spectrum`; a dictionary with `mz` and `intensity` (or
    `peaks`, pairs of both) and any fields of files, such as `precursor_mz`, `adduct`, `collision_energy`; a dictionary
    of pyteomics; a tuple (m/z, intensity, precursor m/z, adduct), the last two optional; an array (n, 2) of peaks. A
    DataFrame of pandas or polars or a pyarrow Table has a spectrum in each row. A text or `Path` is a file, a folder
    or a glob.
    """
    if isinstance(values, SpectrumTable):
        return values
    if isinstance(values, str | Path):
        from trimer.data.spectra.readers import read_spectra

        return read_spectra(values)
    records = Records(unit="spectrum")
    for number, value in enumerate(_listed(values), 1):
        try:
            mz, intensity, fields = _spectrum(value)
            problem = _problem(mz, intensity)
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
            mz, intensity, fields, problem = [], [], {}, " ".join(str(error).split())
        if problem:
            mz, intensity = [], []
        records.add(Path(NAME), mz, intensity, fields, number, problem)
    table = records.table()
    numbered = [f"{NAME}:{number}" == name for number, name in enumerate(table["id"], 1)]
    ids = np.where(numbered, np.arange(1, len(table) + 1).astype(str).astype(object), table["id"])
    return table.with_columns(id=ids.astype(object), file=np.full(len(table), None, object))


def _listed(values: Any) -> Iterable:
    """One value for each spectrum."""
    if _is_one_spectrum(values):
        return [values]
    columns = None if isinstance(values, list | tuple) else columns_of(values)
    if columns is None:
        if not isinstance(values, Iterable) or isinstance(values, bytes) or getattr(values, "shape", None) == ():
            raise InputError(f"a value of type {type(values).__name__} is not a spectrum: {EXPECTED}")
        return values
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _is_one_spectrum(values: Any) -> bool:
    if isinstance(values, Spectrum) or package_of(values) == "matchms":
        return True
    if isinstance(values, Mapping):
        peaks = _field(values, MZ) if _field(values, MZ) is not None else _field(values, PEAKS)
        return isinstance(peaks, str) or (peaks is not None and (len(peaks) == 0 or not _nested(peaks, values)))
    if isinstance(values, np.ndarray):
        return values.ndim == 2 and values.dtype != object and values.shape[1] == 2
    return isinstance(values, tuple) and len(values) > 1 and not isinstance(values[0], str) and _numeric(values[0])


def _nested(peaks: Any, values: Mapping) -> bool:
    """Whether a column contains the peaks of several spectra."""
    first = peaks[0]
    if _field(values, MZ) is None:  # pairs of one spectrum, or lists of pairs
        return len(first) > 0 and np.ndim(first[0]) > 0
    return np.ndim(first) > 0 or isinstance(first, str)


def _numeric(value: Any) -> bool:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return array.ndim == 1


def _spectrum(value: Any) -> tuple[Any, Any, dict[str, str | None]]:
    """m/z, intensity and fields of one spectrum."""
    if package_of(value) == "matchms":
        fields = dict(value.metadata)
        if fields.get("charge") == 0:  # matchms writes 0 for an unknown charge
            del fields["charge"]
        return value.peaks.mz, value.peaks.intensities, _texts(fields)
    if isinstance(value, Spectrum):
        return value.mz, value.intensity, _texts({key: v for key, v in value.fields.items() if key != "problem"})
    if isinstance(value, Mapping):
        return _from_dictionary(value)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 2:
        return value[:, 0], value[:, 1], {}
    if isinstance(value, list | tuple) and 2 <= len(value) <= 4 and _numeric(value[0]):
        fields = dict(zip(("precursor_mz", "adduct"), value[2:], strict=False))
        return value[0], value[1], _texts(fields)
    raise TypeError(f"a value of type {type(value).__name__} is not a spectrum: {EXPECTED}")


def _from_dictionary(value: Mapping) -> tuple[Any, Any, dict[str, str | None]]:
    mz, intensity, peaks = _field(value, MZ), _field(value, INTENSITY), _field(value, PEAKS)
    used = {*MZ, *INTENSITY, *PEAKS, "params"}
    params = value.get("params")
    fields = {**(params if isinstance(params, Mapping) else {}), **value}
    fields = {key: entry for key, entry in fields.items() if str(key).lower() not in used}
    if mz is None and peaks is not None:
        pairs = np.asarray(list(peaks), np.float64).reshape(-1, 2)
        mz, intensity = pairs[:, 0], pairs[:, 1]
    if mz is None or intensity is None:
        raise ValueError("it has no mz and intensity: use these names, or `peaks` with pairs of both")
    return _numbers(mz), _numbers(intensity), _texts(fields)


def _field(value: Mapping, names: Iterable[str]) -> Any:
    """The value of the first of these keys in a dictionary, in any case; None if it has none of them."""
    lower = {str(key).lower(): entry for key, entry in value.items()}
    return next((lower[name] for name in names if lower.get(name) is not None), None)


def _numbers(values: Any) -> np.ndarray:
    """(n,) numbers from a list, an array or a text such as `100.1,250.2`."""
    if isinstance(values, str):
        values = [text for text in _BETWEEN.split(values.strip(" []()")) if text]
    return np.asarray(values, np.float64)


def _problem(mz: Any, intensity: Any) -> str | None:
    """Why the shapes of the arrays are invalid, or None."""
    mz, intensity = np.asarray(mz, np.float64), np.asarray(intensity, np.float64)
    if mz.ndim != 1 or mz.shape != intensity.shape:
        return f"m/z has the shape {mz.shape} and intensity {intensity.shape}: both must be (n,)"
    return None


def _texts(fields: Mapping) -> dict[str, str | None]:
    """Fields as lower-case keys and texts, like those from files; lists and dictionaries are left out."""
    texts: dict[str, str | None] = {}
    for key, value in fields.items():
        if str(key).lower() == "pepmass" and isinstance(value, list | tuple):
            value = " ".join(str(entry) for entry in value if entry is not None)
        if type(value).__name__ == "ChargeList":  # of pyteomics
            value = str(value)
        if not isinstance(value, list | tuple | Mapping | set) and np.ndim(value) == 0:
            texts[str(key).lower()] = text_of(value)
    return texts
