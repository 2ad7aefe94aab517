"""Harmonised field names and types of spectra, for all file formats."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trimer.chemistry.adducts import parse_adduct
from trimer.data.spectra.polarity import reconcile
from trimer.data.spectra.spectrum_table import filled
from trimer.data.text.charges import parse_charge
from trimer.data.text.missing import present

# In order of priority: if a record has several of the names, the first with a usable value is used.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "id": (
        "spectrum_id",
        "spectrumid",
        "accession",
        "identifier",
        "db#",
        "dbid",
        "id",
        "title",
        "feature_id",
        "scans",
        "name",
    ),
    "adduct": ("adduct", "precursor_type", "precursortype", "ion_type", "adductionname", "ion", "adduct_type"),
    "ion_mode": ("ion_mode", "ionmode", "polarity", "ionpolarity", "ion_polarity", "ionization_mode"),
    "name": ("name", "compound_name", "compoundname"),
    "formula": ("formula", "molecular_formula", "molecule_formula", "formula_smiles", "formula_inchi"),
    "smiles": ("smiles", "canonical_smiles", "computed smiles"),
    "inchi": ("inchi", "stdinchi", "inchi_code", "computed inchi"),
    "inchikey": ("inchikey", "inchi_key", "inchikey_smiles", "inchikey_inchi", "computed inchikey", "inchiaux"),
    "instrument": ("instrument", "source_instrument", "instrument_name"),
    "instrument_type": ("instrument_type", "instrumenttype", "instrument type"),
    "collision_energy": ("collision_energy", "collisionenergy", "collision energy", "ce", "colenergy"),
    "splash": ("splash",),
    "fold": ("fold",),
    "precursor_mz": ("precursor_mz", "precursormz", "pepmass", "precursor_m/z", "precursor m/z", "precursormass"),
    "charge": ("charge", "precursor_charge", "precursorcharge", "charge_state"),
    "ms_level": ("ms_level", "mslevel", "spectrum_type", "ms_type"),
    "retention_time": (
        "rtinseconds",
        "rtinminutes",
        "retention_time",
        "retentiontime",
        "retention time",
        "rt",
        "rettime",
    ),
}

_LIKE_ADDUCT = re.compile(r"\[?\d?M[+-]\w")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def first_number(text: str) -> float | None:
    """The number at the start of a text ('460.98 1200' gives 460.98), or None."""
    words = text.split(None, 1)
    try:
        number = float(words[0]) if words else None
    except ValueError:
        match = _NUMBER.match(words[0])
        # '16.5min' and '300-310' begin with a number; '460,98' would lose its decimals and '12abc' is not a number
        rest = words[0][match.end() :] if match else ""
        return float(match.group()) if match and (rest[:1] == "-" or rest in ("s", "min", "m", "sec")) else None
    return number if number is not None and math.isfinite(number) else None


@functools.lru_cache(maxsize=1024)
def parse_ms_level(text: str) -> int | None:
    """MS level of a text: 2 for '2', 'MS2' or 'MS/MS'; None if it has none."""
    if text.upper() in ("MS/MS", "MSMS"):
        return 2
    match = re.fullmatch(r"(?:MS)?\s*([1-9])(?:\.0)?", text.upper())
    return 1 if text.upper() == "MS" else int(match.group(1)) if match else None


@functools.lru_cache(maxsize=1024)
def parse_ion_mode(text: str) -> str:
    """'positive' or 'negative' from a word, letter or sign in any case; other text stays unchanged."""
    return {"p": "positive", "+": "positive", "n": "negative", "-": "negative"}.get(text.strip().lower()[:1], text)


def parse_retention_time(text: str, key: str = "retention_time") -> float | None:
    """Retention time in seconds. The unit is taken from the text, else from the key; a bare number is in seconds.

    A negative time, such as -1, means missing.
    """
    number = first_number(text)
    if number is None or number < 0:
        return None
    unit = text.lower()
    minutes = "min" in unit or ("minutes" in key and "sec" not in unit)
    return number * 60.0 if minutes else number


def harmonise(raw: Mapping[str, Sequence | np.ndarray], n: int) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Columns under the names of SpectrumTable, from the columns of a file.

    raw: lower-case key of the file -> n values (text, or None where missing).
    Returns the columns, and row -> reason for rows with an unreadable precursor m/z, or whose charge, ion mode and
    adduct contradict each other. Other unreadable values are missing, and their text stays under the key of the file.
    The text of the charge is kept as `charge_text`.
    """
    text = {key: _present_column(values) for key, values in raw.items()}
    _split_pepmass(text, n)
    columns: dict[str, np.ndarray] = {}
    complaints: dict[int, str] = {}
    used: set[str] = set()
    for field, names in SYNONYMS.items():
        column = np.full(n, None, dtype=object)
        for key in names:
            if key not in text:
                continue
            values = text[key]
            open_rows = np.flatnonzero(filled(values) & ~filled(column))
            if not len(open_rows) and filled(values).any():
                continue  # a key of higher priority has all values: this one stays a separate column
            convert, readable = _converter(field, key), True
            if convert is None:
                column[open_rows] = values[open_rows]
                used.add(key)
                continue
            for row in open_rows.tolist():
                column[row] = convert(values[row])
                if column[row] is None:
                    readable = False
                    if field == "precursor_mz":
                        complaints.setdefault(row, f"the value '{values[row]}' of {key.upper()} is not a number")
            if readable:  # else the column of the file stays too, so that its text is not lost
                used.add(key)
        columns[field] = column
    _adduct_from_name(columns)
    columns["charge_text"] = _first_filled(text, SYNONYMS["charge"], n)
    for row, clause in reconcile(columns, text.get("pepmass charge")).items():
        complaints.setdefault(row, clause)
    for field, missing in (("precursor_mz", np.nan), ("retention_time", np.nan), ("charge", 0), ("ms_level", 0)):
        columns[field] = np.array([missing if value is None else value for value in columns[field]], dtype=np.float64)
    columns["charge"] = columns["charge"].astype(np.int16)
    columns["ms_level"] = columns["ms_level"].astype(np.int16)
    for key, values in text.items():
        if key not in used and key not in columns and filled(values).any():
            columns[key] = values
    if not filled(columns["charge_text"]).any():
        del columns["charge_text"]
    return columns, complaints


def _converter(field: str, key: str) -> Callable[[str], object] | None:
    if field == "retention_time":
        return functools.partial(parse_retention_time, key=key)
    if (field, key) == ("id", "scans"):
        return _scan_id
    parsers: dict[str, Callable[[str], object]] = {
        "precursor_mz": first_number,
        "charge": parse_charge,
        "ms_level": parse_ms_level,
        "ion_mode": parse_ion_mode,
    }
    return parsers.get(field)


def _scan_id(text: str) -> str | None:
    """SCANS as an id; 0 and -1 mean missing."""
    return None if text in ("0", "-1") else text


def _split_pepmass(text: dict[str, np.ndarray], n: int) -> None:
    """Split PEPMASS with precursor intensity and charge ('460.98 1200 2+') into separate columns.

    The charge is used if the record states no other.
    """
    words = [value.split()[1:] if value else [] for value in text.get("pepmass", ())]
    if not any(words):
        return
    charge, intensity = np.full(n, None, dtype=object), np.full(n, None, dtype=object)
    charge[:] = [next((w for w in rest if w[-1] in "+-" or w[0] in "+-"), None) for rest in words]
    intensity[:] = [rest[0] if rest and rest[0] != sign else None for rest, sign in zip(words, charge, strict=True)]
    if filled(intensity).any():
        text.setdefault("precursor_intensity", intensity)
    if filled(charge).any():
        text["pepmass charge"] = charge
        stated = text.setdefault("charge", np.full(n, None, dtype=object))
        missing = ~filled(_first_filled(text, SYNONYMS["charge"], n))
        stated[missing] = charge[missing]


def _first_filled(text: dict[str, np.ndarray], keys: Sequence[str], n: int) -> np.ndarray:
    column = np.full(n, None, dtype=object)
    for values in (text[key] for key in keys if key in text):
        column = np.where(filled(column), column, values)
    return column


def _adduct_from_name(columns: dict[str, np.ndarray]) -> None:
    """Fill missing adducts from names: GNPS libraries write it as the last word, 'Malyngamide C M+H'."""
    for row in np.flatnonzero(~filled(columns["adduct"]) & filled(columns["name"])):
        words = columns["name"][row].rsplit(None, 1)
        if len(words) == 2 and _LIKE_ADDUCT.match(words[1]) and parse_adduct(words[1]) is not None:
            columns["adduct"][row] = words[1]


def _present_column(values: Sequence | np.ndarray) -> np.ndarray:
    column = np.full(len(values), None, dtype=object)
    column[:] = [present(value) for value in values]
    return column
