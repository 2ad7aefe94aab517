"""Annotated spectra of peptides: the record that all readers yield, and its construction from cells of a file.

Intensities are in the units of the file. A record that cannot be read becomes a spectrum with a problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trimer.data.peptides.peptide_values import is_charge
from trimer.data.text.tables import TableFile
from trimer.peptides.notations import canonical
from trimer.peptides.proforma import Peptide, PeptideError, read_proforma

SERIES = {"b": 0, "y": 1}

Fragment = tuple[str, int, int, str, float]  # series, number, charge, neutral loss ("": none), intensity


class Spectrum(NamedTuple):
    """One annotated spectrum with fragments of any series. location: file and line, for messages."""

    id: str
    text: str
    charge: int
    energy: float
    instrument: str | None
    location: str
    fragments: list[Fragment]
    problem: str | None = None


class Unreadable(ValueError):
    """A spectrum cannot be read; the message is the reason."""


def make_spectrum(
    name: str,
    texts: tuple[str | None, ...],
    charge: str | None,
    location: str,
    read: Callable[[Peptide], Iterable[Fragment]],
    energy: str | None = None,
    instrument: str = "",
    problem: str | None = None,
) -> Spectrum:
    """A spectrum from its cells. texts: notation, fixed modifications, peptide, and further cells of the notation."""
    fragments: list[Fragment] = []
    text, precursor_charge, collision_energy = texts[2] or "", 0, math.nan
    try:
        text, _ = canonical(*texts)
        precursor_charge = _charge(charge)
        collision_energy = _energy(energy)
        peptide = read_proforma(text)
        fragments = list(read(peptide))
        for series, number, *_ in fragments:
            if series in SERIES and not 0 < number < len(peptide.letters):
                raise Unreadable(f"fragment {series}{number} of {len(peptide.letters)} residues")
    except (PeptideError, Unreadable) as error:
        problem = problem or str(error)
    return Spectrum(name, text, precursor_charge, collision_energy, instrument or None, location, fragments, problem)


def _charge(cell: str | None) -> int:
    whole = (cell or "").strip().removesuffix(".0").removesuffix("+")
    if not is_charge(whole):
        raise Unreadable(f"charge {cell} is not a whole number above 0" if cell else "no charge")
    return int(whole)


def _energy(cell: str | None) -> float:
    try:
        value = float(cell) if cell and cell.strip() else math.nan
    except ValueError:
        raise Unreadable(f"collision energy {cell} is not a number") from None
    if value < 0 or math.isinf(value):
        raise Unreadable(f"collision energy {cell} is below 0 or infinite")
    return value


def read_intensity(name: str, value: Any) -> float:
    """An intensity as a number; Unreadable if it is not. name: the fragment, for the message."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise Unreadable(f"the intensity {value} of fragment {name} is not a number of 0 or more")
    return number


def modification_loss(peptide: Peptide) -> str:
    """The neutral loss of the modification: H3PO4 for phosphopeptides, else `modloss` (unknown)."""
    return "H3PO4" if any(modification.id == 21 for _, modification in peptide.modifications) else "modloss"


def optional_columns(table: TableFile, names: Iterable[str]) -> list[str | None]:
    """The names, with None for columns that the table lacks."""
    return [name if name in table else None for name in names]


def spread(names: Iterable[str | None], cells: Iterable[str | None]) -> list[str | None]:
    """One cell for each name, None for missing columns. cells: those of the existing columns."""
    existing = iter(cells)
    return [next(existing) if name else None for name in names]
