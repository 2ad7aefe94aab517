"""Annotated spectra of peptides as libraries and search engines write them, one at a time: b and y with intensities.

Intensities are in the units of the file here. What cannot be read is a spectrum with its problem. fixed: as in
`notations.canonical`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from trimer.data.readers.peptide_tables import (
    ListTable,
    deepphospho_records,
    fragment_columns,
    precursor_columns,
    split_precursor,
)
from trimer.data.readers.plain_residues import cells_of, fixed_modifications
from trimer.data.text.tables import TableFile
from trimer.errors import InputError
from trimer.peptides.notations import PLAIN, canonical
from trimer.peptides.proforma import Peptide, PeptideError, read_proforma

SERIES = {"b": 0, "y": 1}
PROSIT = [(1, 1), (1, 2), (1, 3), (0, 1), (0, 2), (0, 3)]  # (series, charge) within a position
PROSIT_VALUES = 29 * len(PROSIT)
DEEPPHOSPHO = re.compile(r"([a-z])(\d+)\+(\d+)-(\S+)")
MAXQUANT = re.compile(r"([a-z])(\d+)((?:-[A-Z]\w*)*)(\*?)(?:\((\d+)\+\))?")
ALPHABASE = re.compile(r"([a-z])_(?:(\w+)_)?z(\d+)")
NO_LOSS = frozenset({"", "noloss", "none", "na", "nan"})

Fragment = tuple[str, int, int, str, float]  # series, number, charge, loss, intensity


class Spectrum(NamedTuple):
    """One annotated spectrum; fragments may be of any series, what they lost is a text (``""`` for nothing)."""

    id: str
    text: str
    charge: int
    energy: float
    instrument: str | None
    place: str
    fragments: list[Fragment]
    problem: str | None = None


class Unreadable(ValueError):
    """Why one spectrum cannot be read."""


def read_deepphospho(path: Path, fixed: str | None = None) -> Iterator[Spectrum]:
    """JSON of DeepPhospho: `{"*AES2K.2": {"y1+1-Noloss": 100.0, "y3+1-1,H3PO4": 7.5}}`."""
    fixed = fixed_modifications(path.name, (), PLAIN["deepphospho"], fixed)
    for number, (key, pairs) in enumerate(deepphospho_records(path), 1):
        peptide, charge = split_precursor(key)
        place = f"{path.name}, record {number}"
        yield _spectrum(key, ("deepphospho", fixed, peptide), charge, place, lambda _, pairs=pairs: _deepphospho(pairs))


def _deepphospho(pairs: Any) -> Iterator[Fragment]:
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise Unreadable("there is no object of fragments")
    for name, intensity in pairs:
        yield *deepphospho_fragment(name), _intensity(name, intensity)


@lru_cache(maxsize=1 << 16)
def deepphospho_fragment(name: str) -> tuple[str, int, int, str]:
    """`y3+1-1,H2O;2,H3PO4` as series, number, charge and loss (`H2O+2H3PO4`)."""
    match = DEEPPHOSPHO.fullmatch(name)
    if not match:
        raise Unreadable(f"fragment '{name}' cannot be read")
    series, number, charge, lost = match.groups()
    losses = [] if lost == "Noloss" else [one.split(",") for one in lost.split(";")]
    if any(len(one) != 2 for one in losses):
        raise Unreadable(f"fragment '{name}' cannot be read")
    loss = "+".join(what if count == "1" else count + what for count, what in sorted(losses, key=lambda one: one[1]))
    return series, int(number), int(charge), loss


def read_maxquant(path: Path, fixed: str | None = None) -> Iterator[Spectrum]:
    """msms.txt: `y1;y3-H2O;b5*;y7(2+)` under Matches, as many numbers under Intensities."""
    table = TableFile(path)
    fixed = fixed_modifications(path.name, cells_of(table, ["Modified sequence"]), PLAIN["maxquant"], fixed)
    optional = _optional(table, ("Reverse", "Fragmentation", "Mass analyzer", "Collision energy"))
    names = ["Modified sequence", "Charge", "Matches", "Intensities", *filter(None, optional)]
    for cells, number, problem in table.rows(names):
        sequence, charge, matches, intensities = cells[:4]
        reverse, way, analyzer, energy = _spread(optional, cells[4:])
        problem = problem or ("decoy" if reverse == "+" else None)
        where = f"{path.name}:{number}", ("maxquant", fixed, sequence or ""), charge, table.place_of(number)
        instrument = " ".join(filter(None, (way, analyzer)))
        listed = (matches or "", intensities or "")
        yield _spectrum(*where, lambda peptide, listed=listed: _maxquant(peptide, *listed), energy, instrument, problem)


def _maxquant(peptide: Peptide, matches: str, intensities: str) -> Iterator[Fragment]:
    names, values = matches.split(";"), intensities.split(";")
    if len(names) != len(values):
        raise Unreadable(f"{len(names)} matches with {len(values)} intensities")
    for name, value in zip(names, values, strict=True):
        match = MAXQUANT.fullmatch(name.strip())
        if match is None:
            if name.strip():
                yield name, 0, 1, "", _intensity(name, value)  # an immonium ion, as pY
            continue
        series, number, losses, star, charge = match.groups()
        lost = losses.split("-")[1:] + ([_modification_loss(peptide)] if star else [])
        yield series, int(number), int(charge or 1), "+".join(sorted(lost)), _intensity(name, value)


LIBRARY = {
    "sequence": ("ModifiedPeptide", "ModifiedPeptideSequence", "FullUniModPeptideName", "Modified.Sequence"),
    "charge": ("PrecursorCharge", "Precursor.Charge"),
    "series": ("FragmentType", "FragmentIonType", "ProductType", "Fragment.Type"),
    "number": ("FragmentNumber", "FragmentSeriesNumber", "Fragment.Series.Number"),
    "ion_charge": ("FragmentCharge", "FragmentIonCharge", "ProductCharge", "Fragment.Charge"),
    "intensity": ("RelativeIntensity", "LibraryIntensity", "RelativeFragmentIntensity", "Relative.Intensity"),
}
LIBRARY_BESIDE = (
    ("FragmentLossType", "FragmentIonLossType", "Fragment.Loss.Type"),
    ("CollisionEnergy",),
    ("Instrument",),
    ("decoy", "IsDecoy"),
)


def is_library(table: TableFile) -> bool:
    """Whether a table has one row a fragment."""
    return all(any(name in table for name in names) for names in LIBRARY.values())


def read_library(path: Path, fixed: str | None = None) -> Iterator[Spectrum]:
    """Libraries of Spectronaut, OpenSWATH and DIA-NN, one row a fragment; rows of one precursor follow each other."""
    table = TableFile(path)
    if not is_library(table):
        wanted = next(names for names in LIBRARY.values() if not any(name in table for name in names))
        raise InputError(f"{path}: there is no column {' or '.join(wanted)}, which a library of fragments has")
    columns = [next(name for name in names if name in table) for names in LIBRARY.values()]
    beside = [next((name for name in names if name in table), None) for names in LIBRARY_BESIDE]
    notation = "spectronaut" if columns[0] == "ModifiedPeptide" else "diann"
    rows = table.rows([*columns, *filter(None, beside)])
    for (sequence, charge), group in groupby(rows, lambda row: (row[0][0], row[0][1])):
        listed = list(group)
        cells, number, _ = listed[0]
        _, energy, instrument, decoy = _spread(beside, cells[len(columns) :])
        problem = next((f"{table.unit} {at}: {words}" for _, at, words in listed if words), None)
        problem = problem or ("decoy" if (decoy or "").lower() in ("1", "true") else None)
        where = f"{path.name}:{number}", (notation, fixed, sequence or ""), charge, table.place_of(number)
        fragments = [(own[2:6], _spread(beside, own[6:])[0], at) for own, at, _ in listed]
        yield _spectrum(*where, lambda _, rows=fragments: _library(rows, table.unit), energy, instrument or "", problem)


def _library(rows: Iterable[tuple[list[str | None], str | None, int]], unit: str) -> Iterator[Fragment]:
    for (series, number, charge, intensity), loss, at in rows:
        name = f"{series}{number}"
        if not (number or "").isdecimal() or not (charge or "").isdecimal():
            raise Unreadable(f"{unit} {at}: fragment '{name}' of charge '{charge}' cannot be read")
        lost = "" if (loss or "").lower() in NO_LOSS else str(loss).lstrip("-")
        yield (series or "").lower(), int(number or 0), int(charge or 0), lost, _intensity(name, intensity)


def read_prosit(path: Path, fixed: str | None = None) -> Iterator[Spectrum]:
    """Parquet of Prosit and DLOmix: 174 values, 29 positions times y1+ y2+ y3+ b1+ b2+ b3+.

    -1 stands for a fragment that cannot be, 0 for one that was not seen.
    """
    table = ListTable(path)
    fixed = fixed_modifications(path.name, cells_of(table, ["modified_sequence"]), PLAIN["prosit"], fixed)
    energies = next((name for name in ("aligned_collision_energy", "collision_energy") if name in table), None)
    optional = [energies, *_optional(table, ("fragmentation", "mass_analyzer"))]
    names = ["modified_sequence", "precursor_charge", "intensities_raw", *filter(None, optional)]
    for cells, number, problem in table.rows(names):
        sequence, charge, values = cells[:3]
        energy, way, analyzer = _spread(optional, cells[3:])
        where = f"{path.name}:{number}", ("prosit", fixed, sequence or ""), charge, table.place_of(number)
        instrument = " ".join(filter(None, (way, analyzer)))
        yield _spectrum(*where, lambda peptide, own=values: _prosit(peptide, own), energy, instrument, problem)


def _prosit(peptide: Peptide, cell: str | None) -> Iterator[Fragment]:
    try:
        values = json.loads(cell or "")
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, list) or len(values) != PROSIT_VALUES:
        found = f"{len(values)} values" if isinstance(values, list) else "no list"
        raise Unreadable(f"{found} under intensities_raw in place of {PROSIT_VALUES}")
    for place, value in enumerate(values):
        if value is None or value > 0:
            series, charge = PROSIT[place % len(PROSIT)]
            number = place // len(PROSIT) + 1
            yield "by"[series], number, charge, "", _intensity(f"{'by'[series]}{number}", value)


def read_alphabase(path: Path, fixed: str | None = None) -> Iterator[Spectrum]:
    """HDF5 of alphabase: precursor_df, and fragment_intensity_df with a row a cleavage and a column a charged type."""
    columns, fragments = precursor_columns(path), fragment_columns(path)
    lost = [name for name in ("sequence", "charge", "frag_start_idx", "frag_stop_idx") if name not in columns]
    if lost:
        raise InputError(f"{path}: there is no column {lost[0]} in precursor_df")
    types = [match.groups() for name in fragments if (match := ALPHABASE.fullmatch(name))]
    if len(types) < len(fragments):
        raise InputError(f"{path}: fragment_intensity_df has columns that are no fragments: {', '.join(fragments)}")
    cells = {name: values.tolist() for name, values in columns.items()}
    for row, sequence in enumerate(cells["sequence"]):
        beside = {name: cells[name][row] if name in cells else None for name in ("nce", "instrument", "decoy")}
        texts = (
            "alphabase",
            fixed,
            sequence,
            *(cells[name][row] if name in cells else "" for name in ("mods", "mod_sites")),
        )
        span = (cells["frag_start_idx"][row], cells["frag_stop_idx"][row])
        yield _spectrum(
            f"{path.name}:{row + 1}",
            texts,
            str(cells["charge"][row]),
            f"{path.name}, row {row + 1}",
            lambda peptide, span=span: _alphabase(peptide, span, types, fragments),
            None if beside["nce"] is None else str(beside["nce"]),
            beside["instrument"] or "",
            "decoy" if beside["decoy"] else None,
        )


def _alphabase(peptide: Peptide, span: tuple[int, int], types: list[tuple], columns: dict) -> Iterator[Fragment]:
    start, stop = span
    sites = len(peptide.letters) - 1
    if stop - start != sites:
        raise Unreadable(f"fragment rows {start} to {stop} for {sites} cleavages")
    for (series, loss, charge), values in zip(types, columns.values(), strict=True):
        if not 0 <= start <= stop <= len(values):
            raise Unreadable(f"fragment rows {start} to {stop} of {len(values)}")
        lost = _modification_loss(peptide) if loss == "modloss" else loss or ""
        for site, value in enumerate(values[start:stop].tolist()):
            if not value <= 0:
                number = site + 1 if series in "abc" else sites - site
                yield series, number, int(charge), lost, _intensity(f"{series}{number}", value)


# ---------------------------------------------------------------- common


def _spectrum(
    name: str,
    texts: tuple[str | None, ...],
    charge: str | None,
    place: str,
    read: Callable[[Peptide], Iterable[Fragment]],
    energy: str | None = None,
    instrument: str = "",
    problem: str | None = None,
) -> Spectrum:
    """A spectrum out of its cells. texts: the notation, what is fixed, the peptide."""
    fragments: list[Fragment] = []
    text, charges, value = texts[2] or "", 0, math.nan
    try:
        text, _ = canonical(*texts)
        charges = _charge(charge)
        value = _energy(energy)
        peptide = read_proforma(text)
        fragments = list(read(peptide))
        for series, number, *_ in fragments:
            if series in SERIES and not 0 < number < len(peptide.letters):
                raise Unreadable(f"fragment {series}{number} of {len(peptide.letters)} residues")
    except (PeptideError, Unreadable) as error:
        problem = problem or str(error)
    return Spectrum(name, text, charges, value, instrument or None, place, fragments, problem)


def _charge(cell: str | None) -> int:
    whole = (cell or "").strip().removesuffix(".0")
    if not (whole.isdecimal() and int(whole)):
        raise Unreadable(f"charge {cell} is no whole number above 0" if cell else "no charge")
    return int(whole)


def _energy(cell: str | None) -> float:
    try:
        return float(cell) if cell and cell.strip() else math.nan
    except ValueError:
        raise Unreadable(f"collision energy {cell} is no number") from None


def _intensity(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise Unreadable(f"the intensity {value} of fragment {name} is no number of 0 or more")
    return number


def _modification_loss(peptide: Peptide) -> str:
    """What a modification of the peptide loses: phosphoric acid where there is a phosphate, else nobody says."""
    return "H3PO4" if any(one.id == 21 for _, one in peptide.modifications) else "modloss"


def _optional(table: TableFile, names: Iterable[str]) -> list[str | None]:
    return [name if name in table else None for name in names]


def _spread(names: Iterable[str | None], cells: Iterable[str | None]) -> list[str | None]:
    """The cells of columns that are there, None for the others."""
    rest = iter(cells)
    return [next(rest) if name else None for name in names]
