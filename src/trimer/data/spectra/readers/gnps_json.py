"""The JSON of the GNPS spectral libraries: a list of records with the peaks in `peaks_json`.

The fields: https://ccms-ucsd.github.io/GNPSDocumentation/api/. Lists written by matchms read the same way.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from trimer.data.spectra.readers.records import Records
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.opening import broken_end, read_text_so_far
from trimer.errors import BrokenOff, InputError

_NEXT = re.compile(r"\s*")


def read_gnps_json(path: Path) -> SpectrumTable:
    """All records of the file, compressed or not; `line` counts records from 1.

    Of a list that breaks off, the whole records are kept, and a row more stands for the rest.
    """
    text, broken = read_text_so_far(path)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        broken = broken or BrokenOff(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}); a download that broke off? Fetch it again"
        )
        data = _whole_entries(text)
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


def _whole_entries(text: str) -> list:
    """The entries of a list of JSON up to the first that is not whole."""
    decoder, entries = json.JSONDecoder(), []
    place = _NEXT.match(text).end()
    if text[place : place + 1] != "[":
        return entries
    try:
        while True:
            entry, place = decoder.raw_decode(text, _NEXT.match(text, place + 1).end())
            entries.append(entry)
            place = _NEXT.match(text, place).end()
            if text[place : place + 1] != ",":
                return entries
    except json.JSONDecodeError:
        return entries


def _peaks(entry: dict) -> tuple[list[float], list[float], str | None]:
    """m/z, intensity, and what is wrong with them; `peaks_json` is a list, or the text of one."""
    peaks = entry.get("peaks_json", entry.get("peaks"))
    try:
        if isinstance(peaks, str):
            peaks = json.loads(peaks)
        pairs = [(float(mz), float(intensity)) for mz, intensity, *_ in peaks or ()]
    except (ValueError, TypeError):
        return [], [], "peaks_json is not a list of [m/z, intensity]"
    return [mz for mz, _ in pairs], [intensity for _, intensity in pairs], None


def _fields(entry: dict) -> dict[str, str | None]:
    fields = {
        key.lower(): str(value)
        for key, value in entry.items()
        if key not in ("peaks_json", "peaks") and value is not None and not isinstance(value, list | dict)
    }
    # GNPS states ion source and analyser apart; together they are what other libraries call the instrument type
    parts = [fields.get("ion_source"), fields.get("instrument")]
    if all(parts) and "instrument_type" not in fields:
        fields["instrument_type"] = "-".join(parts)
    return fields
