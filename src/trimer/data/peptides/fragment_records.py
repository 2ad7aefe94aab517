"""Readers of annotated spectra of DeepPhospho, MaxQuant, Prosit and alphabase: fragments with intensities.

fixed: modifications that the file does not write, null for the default of its layout. fdr: see `psm_quality`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from trimer.data.peptides.annotated_spectra import (
    Fragment,
    Spectrum,
    Unreadable,
    make_spectrum,
    modification_loss,
    optional_columns,
    read_intensity,
    spread,
)
from trimer.data.peptides.peptide_tables import (
    deepphospho_records,
    fragment_columns,
    open_table,
    precursor_columns,
    split_precursor,
)
from trimer.data.peptides.plain_residues import cells_of, fixed_modifications
from trimer.data.peptides.psm_quality import FDR, Quality
from trimer.data.text.tables import TableFile
from trimer.errors import InputError
from trimer.peptides.notations import PLAIN
from trimer.peptides.proforma import Peptide

PROSIT = [(1, 1), (1, 2), (1, 3), (0, 1), (0, 2), (0, 3)]  # (series, charge) within a position
PROSIT_VALUES = 29 * len(PROSIT)
DEEPPHOSPHO = re.compile(r"([a-z])(\d+)\+(\d+)-(\S+)")
MAXQUANT = re.compile(r"([a-z])(\d+)((?:-[A-Z]\w*)*)(\*?)(?:\((\d+)\+\))?")
ALPHABASE = re.compile(r"([a-z])_(?:(\w+)_)?z(\d+)")


def read_deepphospho(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """JSON of DeepPhospho: `{"*AES2K.2": {"y1+1-Noloss": 100.0, "y3+1-1,H3PO4": 7.5}}`."""
    fixed = fixed_modifications(path.name, (), PLAIN["deepphospho"], fixed)
    for number, (key, pairs) in enumerate(deepphospho_records(path), 1):
        peptide, charge = split_precursor(key)
        location = f"{path.name}, record {number}"
        yield make_spectrum(key, ("deepphospho", fixed, peptide), charge, location, partial(_deepphospho, pairs))


def _deepphospho(pairs: Any, _peptide: Peptide) -> Iterator[Fragment]:
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise Unreadable("its value is not an object of fragments")
    for name, intensity in pairs:
        yield *deepphospho_fragment(name), read_intensity(name, intensity)


@lru_cache(maxsize=1 << 16)
def deepphospho_fragment(name: str) -> tuple[str, int, int, str]:
    """`y3+1-1,H2O;2,H3PO4` as series, number, charge and loss (`H2O+2H3PO4`)."""
    match = DEEPPHOSPHO.fullmatch(name)
    if not match:
        raise Unreadable(f"fragment '{name}' cannot be read")
    series, number, charge, text = match.groups()
    losses = [] if text == "Noloss" else [loss.split(",") for loss in text.split(";")]
    if any(len(loss) != 2 for loss in losses):
        raise Unreadable(f"fragment '{name}' cannot be read")
    names = [name if count == "1" else count + name for count, name in sorted(losses, key=lambda loss: loss[1])]
    return series, int(number), int(charge), "+".join(names)


def read_maxquant(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """MaxQuant's msms.txt: `y1;y3-H2O;b5*;y7(2+)` in Matches, with as many numbers in Intensities."""
    table = TableFile(path)
    fixed = fixed_modifications(path.name, cells_of(table, ["Modified sequence"]), PLAIN["maxquant"], fixed)
    optional = optional_columns(table, ("Fragmentation", "Mass analyzer", "Collision energy"))
    quality = Quality(table, fdr)
    names = ["Modified sequence", "Charge", "Matches", "Intensities", *filter(None, optional)]
    width = len(names)
    names += quality.columns
    for cells, number, problem in table.rows(names):
        sequence, charge, matches, intensities = cells[:4]
        fragmentation, analyzer, energy = spread(optional, cells[4:width])
        problem = problem or quality.reason(cells[width:])
        name, location = f"{path.name}:{number}", table.place_of(number)
        instrument = " ".join(filter(None, (fragmentation, analyzer)))
        read = partial(_maxquant, matches or "", intensities or "")
        texts = ("maxquant", fixed, sequence or "")
        yield make_spectrum(name, texts, charge, location, read, energy, instrument, problem)


def _maxquant(matches: str, intensities: str, peptide: Peptide) -> Iterator[Fragment]:
    names, values = matches.split(";"), intensities.split(";")
    if len(names) != len(values):
        raise Unreadable(f"{len(names)} matches with {len(values)} intensities")
    for name, value in zip(names, values, strict=True):
        match = MAXQUANT.fullmatch(name.strip())
        if match is None:
            if name.strip():
                yield name, 0, 1, "", read_intensity(name, value)  # an immonium ion, such as pY
            continue
        series, number, losses, star, charge = match.groups()
        names = losses.split("-")[1:] + ([modification_loss(peptide)] if star else [])
        yield series, int(number), int(charge or 1), "+".join(sorted(names)), read_intensity(name, value)


def read_prosit(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """Parquet of Prosit and DLOmix: 174 intensities, 29 positions times y1+ y2+ y3+ b1+ b2+ b3+.

    -1 marks an impossible fragment, 0 one that was not observed.
    """
    table = TableFile(path)
    fixed = fixed_modifications(path.name, cells_of(table, ["modified_sequence"]), PLAIN["prosit"], fixed)
    energies = next((name for name in ("aligned_collision_energy", "collision_energy") if name in table), None)
    optional = [energies, *optional_columns(table, ("fragmentation", "mass_analyzer"))]
    names = ["modified_sequence", "precursor_charge", "intensities_raw", *filter(None, optional)]
    for cells, number, problem in table.rows(names):
        sequence, charge, values = cells[:3]
        energy, fragmentation, analyzer = spread(optional, cells[3:])
        name, location = f"{path.name}:{number}", table.place_of(number)
        instrument = " ".join(filter(None, (fragmentation, analyzer)))
        texts = ("prosit", fixed, sequence or "")
        yield make_spectrum(name, texts, charge, location, partial(_prosit, values), energy, instrument, problem)


def _prosit(cell: str | None, _peptide: Peptide) -> Iterator[Fragment]:
    try:
        values = json.loads(cell or "")
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, list) or len(values) != PROSIT_VALUES:
        count = f"{len(values)} values" if isinstance(values, list) else "no list"
        raise Unreadable(f"{count} in intensities_raw instead of {PROSIT_VALUES} values")
    for position, value in enumerate(values):
        if value is None or value > 0:
            series, charge = PROSIT[position % len(PROSIT)]
            number = position // len(PROSIT) + 1
            yield "by"[series], number, charge, "", read_intensity(f"{'by'[series]}{number}", value)


def read_alphabase(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """HDF5 of alphabase: precursor_df, and fragment_intensity_df (rows: cleavage sites, columns: charged types)."""
    columns, fragments = precursor_columns(path), fragment_columns(path)
    missing = [name for name in ("sequence", "charge", "frag_start_idx", "frag_stop_idx") if name not in columns]
    if missing:
        raise InputError(f"{path}: precursor_df has no column {missing[0]}")
    types = [match.groups() for name in fragments if (match := ALPHABASE.fullmatch(name))]
    if len(types) < len(fragments):
        raise InputError(
            f"{path}: fragment_intensity_df has columns that are not fragment types: {', '.join(fragments)}"
        )
    cells = {name: values.tolist() for name, values in columns.items()}
    table = open_table(path)
    quality = Quality(table, fdr)
    problems = [quality.reason(row) for row, _, _ in table.rows(quality.columns)] if quality.columns else []
    for row, sequence in enumerate(cells["sequence"]):
        energy, instrument = (cells[name][row] if name in cells else None for name in ("nce", "instrument"))
        texts = (
            "alphabase",
            fixed,
            sequence,
            *(cells[name][row] if name in cells else "" for name in ("mods", "mod_sites")),
        )
        span = (cells["frag_start_idx"][row], cells["frag_stop_idx"][row])
        yield make_spectrum(
            f"{path.name}:{row + 1}",
            texts,
            str(cells["charge"][row]),
            f"{path.name}, row {row + 1}",
            partial(_alphabase, span, types, fragments),
            None if energy is None else str(energy),
            instrument or "",
            problems[row] if problems else None,
        )


def _alphabase(span: tuple[int, int], types: list[tuple], columns: dict, peptide: Peptide) -> Iterator[Fragment]:
    start, stop = span
    sites = len(peptide.letters) - 1
    if stop - start != sites:
        raise Unreadable(f"fragment rows {start} to {stop} for {sites} cleavages")
    for (series, loss, charge), values in zip(types, columns.values(), strict=True):
        if not 0 <= start <= stop <= len(values):
            raise Unreadable(f"fragment rows {start} to {stop} of {len(values)}")
        loss_name = modification_loss(peptide) if loss == "modloss" else loss or ""
        for site, value in enumerate(values[start:stop].tolist()):
            if not value <= 0:
                number = site + 1 if series in "abc" else sites - site
                yield series, number, int(charge), loss_name, read_intensity(f"{series}{number}", value)
