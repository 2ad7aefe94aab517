"""Spectral libraries with one row per fragment: Spectronaut, OpenSWATH, EasyPQP, DIA-NN, Prosit, Koina and Trimer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
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
from trimer.peptides.proforma import Peptide

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
OPTIONAL = (
    ("FragmentLossType", "FragmentIonLossType", "Fragment.Loss.Type"),
    ("CollisionEnergy", "collision_energies"),
    ("Instrument", "instrument_types"),
)
IMPOSSIBLE = frozenset({"-1", "-1.0"})  # Koina's intensity of an impossible fragment


def is_library(table: TableFile) -> bool:
    """Whether a table is a spectral library with one row per fragment."""
    return _missing(table) is None


def _missing(table: TableFile) -> str | None:
    """Names of a required column that the table lacks, any of which would do; None if it has all."""
    lacking = next((names for names in PRECURSOR.values() if not first_column(table, names)), None)
    if lacking is None and not first_column(table, ANNOTATION):
        lacking = next((names for names in FRAGMENT.values() if not first_column(table, names)), None)
    return None if lacking is None else " or ".join(lacking)


def precursor_columns(table: TableFile) -> list[str]:
    """The columns of a library whose cells identify a precursor: peptide, charge, energy and instrument."""
    names = (PRECURSOR["sequence"], PRECURSOR["charge"], *OPTIONAL[1:])
    return [column for column in (first_column(table, of) for of in names) if column]


def read_library(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """The spectra of a library; rows with the same peptide, charge, energy and instrument form one spectrum.

    Fragments come from their columns, or from an annotation (`y3-H2O^2`) if these are missing or empty. A library in
    which the rows of a precursor are not consecutive is held in memory. The notation of each peptide is recognised from
    its text; plain residues are unmodified.
    """
    table = TableFile(path)
    if wanted := _missing(table):
        raise InputError(f"{path}: a library of fragments needs a column {wanted}, and it has none")
    precursor = [first_column(table, names) for names in PRECURSOR.values()]
    fragment = [first_column(table, names) for names in (*FRAGMENT.values(), ANNOTATION)]
    optional = [first_column(table, names) for names in OPTIONAL]
    quality = Quality(table, fdr)
    names = [*filter(None, (*precursor, *fragment, *optional)), *quality.columns]
    first = len(names) - len(quality.columns)
    positions = {name: position for position, name in enumerate(names)}
    key = [positions[name] for name in precursor_columns(table)]
    for group in _grouped(table, names, key):
        cells, number, _ = group[0]
        sequence, charge, _ = cells[:3]
        *_, energy, instrument = spread((*fragment, *optional), cells[3:first])
        problem = next((f"{table.unit} {line}: {text}" for _, line, text in group if text), None)
        problem = problem or quality.reason(cells[first:])
        rows = [(row[2], spread((*fragment, *optional), row[3:first])[:5], line) for row, line, _ in group]
        yield make_spectrum(
            f"{path.name}:{number}",
            ("brackets", fixed or None, sequence or ""),
            charge,
            table.place_of(number),
            partial(_fragments, rows, table.unit),
            known(energy),
            instrument or "",
            problem,
        )


def _grouped(table: TableFile, names: list[str], positions: list[int]) -> Iterator[list[Row]]:
    """The rows of each precursor, in order of first occurrence. positions: of the cells that identify it."""

    def key(cells: list[str | None]) -> tuple[str | None, ...]:
        return tuple(cells[position] for position in positions)

    if _consecutive(key(cells) for cells, _, _ in table.rows(names)):
        for _, rows in groupby(table.rows(names), lambda row: key(row[0])):
            yield list(rows)
        return
    groups: dict[tuple, list[Row]] = {}
    for row in table.rows(names):
        groups.setdefault(key(row[0]), []).append(row)
    yield from groups.values()


def _consecutive(keys: Iterable[tuple]) -> bool:
    """Whether equal keys are always consecutive."""
    seen: set[tuple] = set()
    for key, _ in groupby(keys):
        if key in seen:
            return False
        seen.add(key)
    return True


def _fragments(
    rows: Iterable[tuple[str | None, list[str | None], int]], unit: str, _peptide: Peptide
) -> Iterator[Fragment]:
    for intensity, (series, number, charge, annotation, loss), line in rows:
        if known(series) is None and known(annotation) is not None:
            annotated = read_annotation(annotation or "")
            if annotated is None:
                yield str(annotation).strip(), 0, 1, "", read_intensity(str(annotation), intensity)
            elif known(intensity) not in IMPOSSIBLE:
                yield *annotated, read_intensity(str(annotation), intensity)
            continue
        name = f"{series}{number}"
        if not (number or "").isdecimal() or not (charge or "").isdecimal():
            raise Unreadable(f"{unit} {line}: fragment '{name}' of charge '{charge}' cannot be read")
        yield (
            (series or "").lower(),
            int(number or 0),
            int(charge or 0),
            loss_name(loss),
            read_intensity(name, intensity),
        )
