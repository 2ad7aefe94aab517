"""MassBank records: text files with one or several spectra, or folders of them.

Format: https://github.com/MassBank/MassBank-web/blob/main/Documentation/MassBankRecordFormat.md. Intensities are
absolute (second column of PK$PEAK).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from trimer.counts import counted
from trimer.data.spectra.readers.record_table import Records
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.opening import broken_end, read_text_so_far
from trimer.errors import InputError

# Keys whose value begins with another key: 'AC$MASS_SPECTROMETRY: COLLISION_ENERGY 35'
_NESTED = ("AC$MASS_SPECTROMETRY", "AC$CHROMATOGRAPHY", "MS$FOCUSED_ION", "CH$LINK")
_NAMES = {"ch$iupac": "inchi", "pk$splash": "splash", "precursor_m/z": "precursor_mz"}


def read_massbank(path: Path) -> SpectrumTable:
    """The records of one MassBank file, or of all .txt files in a folder and its subfolders."""
    records = Records()
    if not path.is_dir():
        _read_file(path, records)
        if not len(records):
            raise InputError(f"{path} holds no MassBank record: no line begins with 'ACCESSION:'")
        return records.table()
    files = sorted(file for file in path.rglob("*.txt") if file.is_file())
    for file in files:
        _read_file(file, records)
    if not len(records):
        raise InputError(f"{path} holds no MassBank record in its {len(files)} .txt files; name a folder of records")
    return records.table()


def _read_file(path: Path, records: Records) -> None:
    """Add every record of a file to `records`; text outside records is ignored."""
    text, broken = read_text_so_far(path)
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("ACCESSION:")]
    for start, stop in pairwise([*starts, len(lines)]):
        _read_record(path, lines[start:stop], start + 1, records)
    if broken and not starts:
        raise broken
    if broken:
        records.add(path, (), (), {}, len(lines), broken_end(broken))


def _read_record(path: Path, lines: list[str], first: int, records: Records) -> None:
    fields: dict[str, str] = {}
    mz: list[float] = []
    intensity: list[float] = []
    problem: str | None = None
    section, ended = "", False
    for number, line in enumerate(lines, start=first):
        if line.startswith("//"):
            ended = True
            break
        if line.startswith(" "):  # a row of the table of the last key
            if section == "PK$PEAK":
                words = line.split()
                try:
                    mz_here, intensity_here = float(words[0]), float(words[1])
                    mz.append(mz_here)
                    intensity.append(intensity_here)
                except (ValueError, IndexError):
                    problem = problem or f"line {number} '{line.strip()[:60]}' is not 'm/z intensity'"
            continue
        section, colon, value = line.partition(":")
        value = value.strip()
        if section == "DEPRECATED":
            problem = f"the record is deprecated by MassBank ({value})"
        if not colon or section in ("PK$PEAK", "PK$ANNOTATION", "DEPRECATED"):
            continue
        _add_field(fields, section, value)
    count = fields.pop("pk$num_peak", "")
    if not ended:
        problem = problem or "the record is truncated: its last line is not '//'"
    elif count.isdecimal() and count.lstrip("0") != str(len(mz) or ""):
        problem = problem or f"PK$NUM_PEAK is {count}, but {counted(len(mz), 'peaks', 'follow')}"
    if "/" in fields.get("precursor_mz", ""):  # MS3: '300.12/150.03', the last is the precursor of this spectrum
        fields["precursor_mz"] = fields["precursor_mz"].rsplit("/", 1)[1]
    records.add(path, mz, intensity, fields, first, problem)


def _add_field(fields: dict[str, str], section: str, value: str) -> None:
    """Add a field under its harmonised key; repeated keys are joined."""
    if section in _NESTED:
        key, _, value = value.partition(" ")
    else:
        key = section
    key = key.lower()
    key = _NAMES.get(key, key.removeprefix("ch$").removeprefix("ac$").removeprefix("ms$"))
    if key == "name" and key in fields:
        key = "synonyms"
    fields[key] = f"{fields[key]}; {value}" if key in fields else value
