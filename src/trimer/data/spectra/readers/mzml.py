"""mzML files, read by pyteomics: the fragment spectra of a run with their precursors."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

from trimer.data.spectra.readers.record_table import Records
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.opening import open_bytes
from trimer.errors import BrokenOff, InputError

_SCAN = re.compile(r"\bscan=(\d+)")


def read_mzml(path: Path) -> SpectrumTable:
    """The scans of MS level 2 and above of an mzML file; `line` holds the scan number."""
    from pyteomics import mzml

    records, survey_scans = Records(unit="scan"), 0
    with open_bytes(path) as file:
        try:
            scans = mzml.MzML(file, use_index=False, iterative=True, decode_binary=False)
            for index, scan in enumerate(scans, start=1):
                if scan.get("ms level", 2) < 2:
                    survey_scans += 1
                    continue
                match = _SCAN.search(scan.get("id", ""))
                number = int(match.group(1)) if match else index
                mz, intensity, problem = peaks_of(scan)
                profile = PROFILE if "profile spectrum" in scan else None
                records.add(path, mz, intensity, _fields(scan), number, profile or problem)
        except parser_errors() as error:
            add_broken_end(records, path, error)
    return table_of(records, path, survey_scans)


def _fields(scan: dict) -> dict[str, str | None]:
    first_scan = (scan.get("scanList", {}).get("scan") or [{}])[0]
    precursor = (scan.get("precursorList", {}).get("precursor") or [{}])[0]
    ion = (precursor.get("selectedIonList", {}).get("selectedIon") or [{}])[0]
    # some converters omit the selected ion; then the centre of the isolation window is used
    mz = ion.get("selected ion m/z") or precursor.get("isolationWindow", {}).get("isolation window target m/z")
    activation = precursor.get("activation", {})
    energy = activation.get("collision energy")
    normalised = activation.get("normalized collision energy")
    time = first_scan.get("scan start time")
    seconds = None if time is None else float(time) * (60.0 if unit_of(time, "minute") == "minute" else 1.0)
    mode = "positive" if "positive scan" in scan else "negative" if "negative scan" in scan else None
    return {
        "id": scan.get("id"),
        "precursor_mz": text_of(mz),
        "precursor_intensity": text_of(ion.get("peak intensity")),
        "charge": _charge(ion),
        "ms_level": text_of(scan.get("ms level")),
        "rtinseconds": text_of(seconds),
        "ion_mode": mode,
        "collision_energy": f"{energy:g} eV" if energy is not None else f"{normalised:g} NCE" if normalised else None,
    }


def _charge(ion: dict) -> str | None:
    """The charge of the selected ion, or its possible charges ('2 and 3')."""
    possible = ion.get("charge state", ion.get("possible charge state"))
    return " and ".join(map(str, possible)) if isinstance(possible, list) else text_of(possible)


PROFILE = "the scan is in profile mode; centroid the run first (msconvert --filter 'peakPicking true 2-')"


def parser_errors() -> tuple[type[Exception], ...]:
    """Exceptions of lxml and pyteomics for a truncated or damaged file."""
    from pyteomics.auxiliary import PyteomicsError

    return (SyntaxError, PyteomicsError, ValueError, KeyError, TypeError, OSError, BrokenOff)


def peaks_of(scan: dict) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Decoded m/z and intensity of a scan, and why they cannot be used; an error concerns only this scan.

    pyteomics leaves the name of an unknown compression in the scan, and would read the compressed bytes as numbers.
    """
    nothing = np.zeros(0), np.zeros(0)
    packed = next((key for key in scan if key.endswith(" compression")), None)
    if packed:
        remedy = "install the package pynumpress" if "Numpress" in packed else "convert the run with zlib compression"
        return *nothing, f"the peaks are compressed by {packed}, which cannot be decoded: {remedy}"
    try:
        arrays = [scan[key].decode() for key in ("m/z array", "intensity array") if key in scan]
    except (ValueError, KeyError, zlib.error) as error:
        return *nothing, f"the peaks cannot be decoded ({error})"
    if not arrays:
        return *nothing, None
    if len(arrays) != 2 or len(arrays[0]) != len(arrays[1]):
        return *nothing, "m/z and intensity are not arrays of the same length"
    stated = scan.get("defaultArrayLength", len(arrays[0]))
    if stated != len(arrays[0]):
        return *nothing, f"the scan states {stated} peaks, but has {len(arrays[0])}"
    return arrays[0], arrays[1], None


def add_broken_end(records: Records, path: Path, error: Exception) -> None:
    """Add one row for the missing end of a file, so that the scans before it are kept."""
    last = records.lines[-1] if len(records) else 0
    if not last:
        why = " ".join(str(error).split())
        raise InputError(
            f"{path} is damaged or truncated before its first spectrum; convert or copy it again ({why})"
        ) from None
    records.add(path, (), (), {}, last, f"the file is broken after this scan ({error}); convert or copy it again")


def table_of(records: Records, path: Path, survey_scans: int) -> SpectrumTable:
    """The table of the records; InputError if there is none."""
    if not len(records):
        raise InputError(f"{path} holds no fragment spectrum: none of its {survey_scans} scans has MS level 2 or above")
    return records.table()


def unit_of(value: object, missing: str) -> str:
    """The unit that pyteomics attaches to a number, or `missing`."""
    return getattr(value, "unit_info", None) or missing


def text_of(value: object) -> str | None:
    """A number as text, with all its digits."""
    return None if value is None else repr(float(value)) if isinstance(value, float | np.floating) else str(value)
