"""GNPS JSON: a list of records with the peaks in `peaks_json`.

Fields: https://ccms-ucsd.github.io/GNPSDocumentation/api/. JSON lists written by matchms are read too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from trimer.data.spectra.readers.record_table import Records
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.opening import broken_end, read_text_so_far
from trimer.errors import BrokenOff, InputError

_BLANKS = re.compile(r"\s*")


def read_gnps_json(path: Path) -> SpectrumTable:
    """All records of the file, compressed or not; `line` counts records from 1.

    A truncated list gives its complete records and one row for the lost rest.
    """
    text, broken = read_text_so_far(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        broken = broken or BrokenOff(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}); it may be incomplete: download it again"
        )
        data = _complete_entries(text)
        if not data:
            raise broken from None
    if isinstance(data, dict):
        if not data.keys() & {"spectra", "peaks_json", "peaks"}:
            raise InputError(f"{path} holds no spectrum: an object with neither 'spectra' nor 'peaks_json'")
        data = data.get("spectra", [data])
    if not isinstance(data, list):
        raise InputError(f"{path}: expected a list of spectra, found {type(data).__name__}")
    records = Records(unit="record")
    for number, entry in enumerate(data, start=1):
        if not isinstance(entry, dict):
            records.add(path, (), (), {}, number, f"the entry is {type(entry).__name__}, not an object with fields")
            continue
        mz, intensity, problem = _peaks(entry)
        records.add(path, mz, intensity, _fields(entry), number, problem)
    if broken:
        records.add(path, (), (), {}, len(data) + 1, broken_end(broken))
    return records.table()


def _complete_entries(text: str) -> list:
    """The entries of a JSON list up to the first incomplete one."""
    decoder = json.JSONDecoder()
    entries: list = []
    position = _next(text, 0)
    if text[position : position + 1] != "[":
        return entries
    try:
        while True:
            entry, position = decoder.raw_decode(text, _next(text, position + 1))
            entries.append(entry)
            position = _next(text, position)
            if text[position : position + 1] != ",":
                return entries
    except json.JSONDecodeError:
        return entries


def _next(text: str, position: int) -> int:
    """Position of the next character that is not white space."""
    match = _BLANKS.match(text, position)
    return position if match is None else match.end()


def _peaks(entry: dict) -> tuple[list[float], list[float], str | None]:
    """m/z, intensity, and why they cannot be read; `peaks_json` is a list, or its JSON text."""
    peaks = entry.get("peaks_json", entry.get("peaks"))
    try:
        if isinstance(peaks, str):
            peaks = json.loads(peaks)
        pairs = [(float(mz), float(intensity)) for mz, intensity, *_ in peaks or ()]
    except (ValueError, TypeError):
        return [], [], "peaks_json is not a list of [m/z, intensity]"
    return [mz for mz, _ in pairs], [intensity for _, intensity in pairs], None


def _fields(entry: dict) -> dict[str, str | None]:
    fields: dict[str, str | None] = {
        key.lower(): str(value)
        for key, value in entry.items()
        if key not in ("peaks_json", "peaks") and value is not None and not isinstance(value, list | dict)
    }
    # GNPS has separate fields for ion source and analyser; other libraries join them as the instrument type
    source, analyser = fields.get("ion_source"), fields.get("instrument")
    if source and analyser and "instrument_type" not in fields:
        fields["instrument_type"] = f"{source}-{analyser}"
    return fields
