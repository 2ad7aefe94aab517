"""Spectral libraries with one row a fragment: Spectronaut, OpenSWATH, EasyPQP, DIA-NN, Prosit, Koina and Trimer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from trimer.data.peptides.annotated_spectra import (
    Fragment,
    Spectrum,
    Unreadable,
    make_spectrum,
    read_intensity,
    spread,
)
from trimer.data.peptides.fragment_annotations import loss_name, read_annotation
from trimer.data.peptides.psm_quality import FDR, Quality, first_column
from trimer.data.text.missing import known
from trimer.data.text.tables import Row, TableFile
from trimer.errors import InputError

PRECURSOR = {
    "sequence": (
        "ModifiedPeptide", "ModifiedPeptideSequence", "FullUniModPeptideName", "Modified.Sequence", "peptide_sequences",
    ),
    "charge": ("PrecursorCharge", "Precursor.Charge", "precursor_charges"),
    "intensity": (
        "RelativeIntensity", "LibraryIntensity", "RelativeFragmentIntensity", "Relative.Intensity", "intensities",
    ),
}  # fmt: skip
FRAGMENT = {
    "series": ("FragmentType", "FragmentIonType", "ProductType", "Fragment.Type"),
    "number": ("FragmentNumber", "FragmentSeriesNumber", "Fragment.Series.Number"),
    "ion_charge": ("FragmentCharge", "FragmentIonCharge", "ProductCharge", "Fragment.Charge"),
}
ANNOTATION = ("Annotation", "Annotations")
BESIDE = (
    ("FragmentLossType", "FragmentIonLossType", "Fragment.Loss.Type"),
    ("CollisionEnergy", "collision_energies"),
    ("Instrument", "instrument_types"),
)
IMPOSSIBLE = frozenset({"-1", "-1.0"})  # intensity of Koina for a fragment that cannot be


def is_library(table: TableFile) -> bool:
    """Whether a table has one row a fragment."""
    return _missing(table) is None


def _missing(table: TableFile) -> str | None:
    """The columns that a library has and this table lacks, one of which is needed."""
    lacking = next((names for names in PRECURSOR.values() if not first_column(table, names)), None)
    if lacking is None and not first_column(table, ANNOTATION):
        lacking = next((names for names in FRAGMENT.values() if not first_column(table, names)), None)
    return None if lacking is None else " or ".join(lacking)


def read_library(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """The spectra of a library: rows with one peptide, charge, energy and instrument, wherever they stand.

    Fragments come from their columns, or from an annotation (`y3-H2O^2`) where these are missing or empty. A library
    in which the rows of a precursor do not follow each other is held in memory. The notation of each peptide is told by
    its text; plain residues are unmodified.
    """
    table = TableFile(path)
    if wanted := _missing(table):
        raise InputError(f"{path}: there is no column {wanted}, which a library of fragments has")
    precursor = [first_column(table, names) for names in PRECURSOR.values()]
    fragment = [first_column(table, names) for names in (*FRAGMENT.values(), ANNOTATION)]
    beside = [first_column(table, names) for names in BESIDE]
    quality = Quality(table, fdr)
    names = [*filter(None, (*precursor, *fragment, *beside)), *quality.columns]
    first = len(names) - len(quality.columns)
    at = {name: place for place, name in enumerate(names)}
    key = [at[name] for name in (*precursor[:2], *beside[1:]) if name]
    for listed in _grouped(table, names, key):
        cells, number, _ = listed[0]
        sequence, charge, _ = cells[:3]
        *_, energy, instrument = spread((*fragment, *beside), cells[3:first])
        problem = next((f"{table.unit} {at}: {words}" for _, at, words in listed if words), None)
        problem = problem or quality.reason(cells[first:])
        where = f"{path.name}:{number}", ("brackets", fixed or None, sequence or ""), charge, table.place_of(number)
        rows = [(own[2], spread((*fragment, *beside), own[3:first])[:5], at) for own, at, _ in listed]
        yield make_spectrum(
            *where, lambda _, rows=rows: _fragments(rows, table.unit), known(energy), instrument or "", problem
        )


def _grouped(table: TableFile, names: list[str], places: list[int]) -> Iterator[list[Row]]:
    """The rows of each precursor, in the order of their first; places: of the cells that tell precursors apart."""

    def key(cells: list[str | None]) -> tuple[str | None, ...]:
        return tuple(cells[place] for place in places)

    if _together(key(cells) for cells, _, _ in table.rows(names)):
        for _, rows in groupby(table.rows(names), lambda row: key(row[0])):
            yield list(rows)
        return
    groups: dict[tuple, list[Row]] = {}
    for row in table.rows(names):
        groups.setdefault(key(row[0]), []).append(row)
    yield from groups.values()


def _together(keys: Iterable[tuple]) -> bool:
    """Whether equal keys follow each other."""
    seen: set[tuple] = set()
    for key, _ in groupby(keys):
        if key in seen:
            return False
        seen.add(key)
    return True


def _fragments(rows: Iterable[tuple[str | None, list[str | None], int]], unit: str) -> Iterator[Fragment]:
    for intensity, (series, number, charge, annotation, loss), at in rows:
        if known(series) is None and known(annotation) is not None:
            found = read_annotation(annotation or "")
            if found is None:
                yield str(annotation).strip(), 0, 1, "", read_intensity(str(annotation), intensity)
            elif known(intensity) not in IMPOSSIBLE:
                yield *found, read_intensity(str(annotation), intensity)
            continue
        name = f"{series}{number}"
        if not (number or "").isdecimal() or not (charge or "").isdecimal():
            raise Unreadable(f"{unit} {at}: fragment '{name}' of charge '{charge}' cannot be read")
        yield (
            (series or "").lower(),
            int(number or 0),
            int(charge or 0),
            loss_name(loss),
            read_intensity(name, intensity),
        )
