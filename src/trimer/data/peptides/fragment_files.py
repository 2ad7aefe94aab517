"""Spectra of peptides with intensities of b and y fragments, from spectral libraries and search engines.

Shapes: n spectra, F fragments in total.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from trimer.data.core.label_table import check_limit, settings_text
from trimer.data.peptides.annotated_spectra import SERIES, Spectrum
from trimer.data.peptides.fragment_records import read_alphabase, read_deepphospho, read_maxquant, read_prosit
from trimer.data.peptides.library_tables import is_library, read_library
from trimer.data.peptides.library_texts import is_msp, read_msp_library, read_mzspeclib
from trimer.data.peptides.peptide_tables import HDF5
from trimer.data.peptides.psm_quality import FDR, check_fdr
from trimer.data.text.content import content_digest
from trimer.data.text.opening import read_chunks
from trimer.data.text.paths import NamedFiles, named_paths
from trimer.data.text.tables import ROWS, TableFile
from trimer.errors import InputError
from trimer.peptides.notations import read_fixed

log = logging.getLogger(__name__)

LAYOUTS: dict[str, Callable[[Path, str | None, float | None], Iterator[Spectrum]]] = {
    "deepphospho": read_deepphospho,
    "maxquant_msms": read_maxquant,
    "library": read_library,
    "prosit": read_prosit,
    "alphabase": read_alphabase,
    "msp": read_msp_library,
    "mzspeclib": read_mzspeclib,
}
READING = 2  # increase when the same files yield other spectra, so that old caches are not read
NO_FRAGMENT = "no b or y fragment with an intensity"
FRAGMENT_COLUMNS: dict[str, type] = {  # attribute of a FragmentTable -> type of its values
    "row": np.int64,
    "series": np.uint8,
    "number": np.int64,
    "ion_charge": np.int64,
    "loss": object,
    "intensity": np.float32,
}


@dataclass
class FragmentTable:
    """n spectra as ids, canonical ProForma and precursor charges, with their F concatenated fragments.

    charge: (n,) int64, 0 if unknown. energy: (n,) float64, collision energy in the units of the file, NaN if unknown.
    instrument: n texts or None. places: file and line of each. problems: row -> why it cannot be used; it has no
    fragments. row: (F,) int64, ascending. series: (F,) uint8, 0 for b and 1 for y. number: (F,) int64, residues in the
    fragment. ion_charge: (F,) int64. loss: (F,) object, `""`, `H3PO4`, `H2O`, `NH3`, or several as `H2O+2H3PO4`;
    `modloss` for an unknown loss of a modification. intensity: (F,) float32, above 0 and relative to the most intense
    fragment of the spectrum. other: series other than b and y -> number of such fragments, which are left out.
    """

    ids: list[str]
    texts: list[str]
    charge: np.ndarray
    energy: np.ndarray
    instrument: list[str | None]
    places: list[str]
    problems: dict[int, str]
    row: np.ndarray
    series: np.ndarray
    number: np.ndarray
    ion_charge: np.ndarray
    loss: np.ndarray
    intensity: np.ndarray
    other: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, spectra: Sequence[Spectrum]) -> FragmentTable:
        """A table of spectra."""
        problems: dict[int, str] = {}
        other: Counter[str] = Counter()
        fragments: list[tuple[int, int, int, int, str, float]] = []
        for row, spectrum in enumerate(spectra):
            b_and_y = [(SERIES[s], n, z, loss, value) for s, n, z, loss, value in spectrum.fragments if s in SERIES]
            highest = max((value for *_, value in b_and_y), default=0.0)
            if spectrum.problem or not highest:
                problems[row] = spectrum.problem or NO_FRAGMENT
                continue
            other.update(fragment[0] for fragment in spectrum.fragments if fragment[0] not in SERIES)
            fragments += [(row, s, n, z, loss, value / highest) for s, n, z, loss, value in b_and_y if value > 0]
        columns: dict[str, np.ndarray] = {
            name: np.array([fragment[column] for fragment in fragments], kind)
            for column, (name, kind) in enumerate(FRAGMENT_COLUMNS.items())
        }
        return cls(
            [spectrum.id for spectrum in spectra],
            [spectrum.text for spectrum in spectra],
            np.array([spectrum.charge for spectrum in spectra], np.int64),
            np.array([spectrum.energy for spectrum in spectra], np.float64),
            [spectrum.instrument for spectrum in spectra],
            [spectrum.location for spectrum in spectra],
            problems,
            **columns,
            other=other,
        )

    @classmethod
    def concatenate(cls, tables: Sequence[FragmentTable]) -> FragmentTable:
        """Concatenate one or more tables."""
        starts = np.cumsum([0, *map(len, tables)])
        return cls(
            [name for table in tables for name in table.ids],
            [text for table in tables for text in table.texts],
            np.concatenate([table.charge for table in tables]),
            np.concatenate([table.energy for table in tables]),
            [name for table in tables for name in table.instrument],
            [place for table in tables for place in table.places],
            {
                int(start) + row: why
                for table, start in zip(tables, starts, strict=False)
                for row, why in table.problems.items()
            },
            row=np.concatenate([table.row + start for table, start in zip(tables, starts, strict=False)]),
            **{
                name: np.concatenate([getattr(table, name) for table in tables])
                for name in FRAGMENT_COLUMNS
                if name != "row"
            },
            other=sum((table.other for table in tables), Counter()),
        )


class FragmentSource(Protocol):
    """A source that yields annotated spectra in chunks: files, the simulation."""

    def fingerprint(self) -> str: ...

    def chunks(self) -> Iterator[FragmentTable]: ...


class FragmentFiles(NamedFiles):
    """Annotated spectra of files; a record that cannot be read is a row with a problem.

    paths: files or globs. layout: `deepphospho` (JSON, gzipped or not), `maxquant_msms` (msms.txt), `library` (one row
    per fragment: Spectronaut, OpenSWATH, EasyPQP, DIA-NN, Koina), `prosit` (Parquet with 174 values), `alphabase`
    (HDF5), `msp` or `mzspeclib`; null: detected from the content. limit: largest number of spectra to read. fixed:
    modifications that the file does not write, such as `Carbamidomethyl@C`; null: the default of the layout
    (`notations.PLAIN`), an empty text: none. fdr: highest q-value, or PEP, of a row; null keeps all.
    """

    wanted = "a library of peptides"

    def __init__(
        self,
        paths: str | Sequence[str],
        layout: str | None = None,
        limit: int | None = None,
        fixed: str | None = None,
        fdr: float | None = FDR,
    ):
        check_limit(limit)
        check_fdr(fdr)
        self.paths = named_paths(paths, self.wanted)
        if layout is not None and layout not in LAYOUTS:
            raise ValueError(f"layout={layout} must be one of {', '.join(LAYOUTS)}, or null")
        if fixed:
            read_fixed(fixed)
        self.layout = layout
        self.limit = limit
        self.fixed = fixed
        self.fdr = fdr

    def fingerprint(self) -> str:
        """Changes when the spectra may have changed."""
        names = ",".join(path.name for path in self.files())
        settings = {name: value for name, value in vars(self).items() if name != "paths"} | {"reading": READING}
        return f"{content_digest(self.files())}/{names}/{settings_text(settings)}"

    def chunks(self) -> Iterator[FragmentTable]:
        """Tables of a few thousand spectra; InputError if there is none."""
        readers = ((path, LAYOUTS[self.layout or find_layout(path)]) for path in self.files())
        all_spectra = (spectrum for path, read in readers for spectrum in read(path, self.fixed, self.fdr))
        spectra = islice(all_spectra, self.limit)
        other: Counter[str] = Counter()
        count = 0
        while chunk := list(islice(spectra, ROWS)):
            table = FragmentTable.of(chunk)
            other += table.other
            count += len(table)
            yield table
        if not count:
            raise InputError(f"{' and '.join(self.paths)}: no spectrum in it")
        if other:
            counts = ", ".join(f"{series} {number:,}" for series, number in other.most_common(8))
            log.info("fragments other than b and y are left out: %s", counts)


def find_layout(path: Path) -> str:
    """The layout (a key of LAYOUTS) of a file, from its content; InputError if it is unknown."""
    start = next(read_chunks(path, 1 << 12), b"")
    if start.startswith(HDF5):
        return "alphabase"
    text = start.decode("utf-8", "replace")
    if text.lstrip()[:1] == "{":
        if '"format_version"' in text:
            raise InputError(f"{path} is mzSpecLib in JSON: convert it to the text form (mzspeclib convert -f text)")
        return "deepphospho"
    if text.lstrip("\ufeff \n\r").lower().startswith("<mzspeclib"):
        return "mzspeclib"
    if is_msp(text):
        return "msp"
    table = TableFile(path)
    if "Matches" in table and "Intensities" in table:
        return "maxquant_msms"
    if "intensities_raw" in table:
        return "prosit"
    if is_library(table):
        return "library"
    raise InputError(
        f"{path}: its columns fit no known layout of fragment libraries ({', '.join(LAYOUTS)}); name one in layout"
    )
