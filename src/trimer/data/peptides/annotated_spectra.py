"""What the readers of annotated spectra of peptides share: the spectrum, and how its cells become one.

Intensities are in the units of the file here. What cannot be read is a spectrum with its problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trimer.data.text.tables import TableFile
from trimer.peptides.notations import canonical
from trimer.peptides.proforma import Peptide, PeptideError, read_proforma

SERIES = {"b": 0, "y": 1}

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


def make_spectrum(
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
    whole = (cell or "").strip().removesuffix(".0").removesuffix("+")
    if not (whole.isdecimal() and int(whole)):
        raise Unreadable(f"charge {cell} is no whole number above 0" if cell else "no charge")
    return int(whole)


def _energy(cell: str | None) -> float:
    try:
        value = float(cell) if cell and cell.strip() else math.nan
    except ValueError:
        raise Unreadable(f"collision energy {cell} is no number") from None
    if value < 0 or math.isinf(value):
        raise Unreadable(f"collision energy {cell} is below 0 or infinite")
    return value


def read_intensity(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise Unreadable(f"the intensity {value} of fragment {name} is no number of 0 or more")
    return number


def modification_loss(peptide: Peptide) -> str:
    """What a modification of the peptide loses: phosphoric acid where there is a phosphate, else nobody says."""
    return "H3PO4" if any(one.id == 21 for _, one in peptide.modifications) else "modloss"


def optional_columns(table: TableFile, names: Iterable[str]) -> list[str | None]:
    return [name if name in table else None for name in names]


def spread(names: Iterable[str | None], cells: Iterable[str | None]) -> list[str | None]:
    """The cells of columns that are there, None for the others."""
    rest = iter(cells)
    return [next(rest) if name else None for name in names]
