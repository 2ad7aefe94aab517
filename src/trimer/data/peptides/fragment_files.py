"""Peptides with the intensities of their b and y fragments, from libraries and the results of search engines.

Shapes: n spectra, F fragments in all.
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
from trimer.data.peptides.library_texts import is_msp, is_mzspeclib, read_msp_library, read_mzspeclib
from trimer.data.peptides.peptide_tables import HDF5
from trimer.data.peptides.psm_quality import FDR, check_fdr
from trimer.data.text.content import content_digest
from trimer.data.text.opening import read_chunks
from trimer.data.text.paths import find_files, named_paths
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
READING = 2  # raise it when the same files give other spectra, so that old caches are not read
NO_FRAGMENT = "no b or y fragment with an intensity"


@dataclass
class FragmentTable:
    """n spectra as ids, canonical ProForma and precursor charges, and their F fragments end to end.

    charge: (n,) int64, 0 where unknown. energy: (n,) float64, the collision energy as the file gives it, NaN where
    unknown. instrument: n texts or None. places: where each stands. problems: row -> why it cannot be used; it has no
    fragments. row: (F,) int64, rising. series: (F,) uint8, 0 for b and 1 for y. number: (F,) int64, residues in the
    fragment. ion_charge: (F,) int64. loss: (F,) object, `""`, `H3PO4`, `H2O`, `NH3`, or several as `H2O+2H3PO4`;
    `modloss` where a modification lost something that is not said. intensity: (F,) float32, above 0 and relative to the
    brightest of the spectrum. other: series that are neither b nor y -> how many such fragments were left out.
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
        """A table of spectra as they were read."""
        problems: dict[int, str] = {}
        other: Counter[str] = Counter()
        fragments: list[tuple[int, int, int, int, str, float]] = []
        for row, one in enumerate(spectra):
            own = [(SERIES[s], n, z, loss, value) for s, n, z, loss, value in one.fragments if s in SERIES]
            brightest = max((value for *_, value in own), default=0.0)
            if one.problem or not brightest:
                problems[row] = one.problem or NO_FRAGMENT
                continue
            other.update(fragment[0] for fragment in one.fragments if fragment[0] not in SERIES)
            fragments += [(row, s, n, z, loss, value / brightest) for s, n, z, loss, value in own if value > 0]
        row, series, number, ion_charge, loss, intensity = zip(*fragments, strict=True) if fragments else [()] * 6
        return cls(
            [one.id for one in spectra],
            [one.text for one in spectra],
            np.array([one.charge for one in spectra], np.int64),
            np.array([one.energy for one in spectra], np.float64),
            [one.instrument for one in spectra],
            [one.place for one in spectra],
            problems,
            np.array(row, np.int64),
            np.array(series, np.uint8),
            np.array(number, np.int64),
            np.array(ion_charge, np.int64),
            np.array(loss, object),
            np.array(intensity, np.float32),
            other,
        )

    @classmethod
    def concatenate(cls, tables: Sequence[FragmentTable]) -> FragmentTable:
        """One or more tables end to end."""
        starts = np.cumsum([0, *map(len, tables)])
        return cls(
            [one for table in tables for one in table.ids],
            [one for table in tables for one in table.texts],
            np.concatenate([table.charge for table in tables]),
            np.concatenate([table.energy for table in tables]),
            [one for table in tables for one in table.instrument],
            [one for table in tables for one in table.places],
            {
                int(start) + row: why
                for table, start in zip(tables, starts, strict=False)
                for row, why in table.problems.items()
            },
            np.concatenate([table.row + start for table, start in zip(tables, starts, strict=False)]),
            *(np.concatenate([getattr(table, name) for table in tables]) for name in FRAGMENT_COLUMNS[1:]),
            sum((table.other for table in tables), Counter()),
        )


class FragmentSource(Protocol):
    """What gives annotated spectra in chunks: files, the simulation."""

    def fingerprint(self) -> str: ...

    def chunks(self) -> Iterator[FragmentTable]: ...


FRAGMENT_COLUMNS = ("row", "series", "number", "ion_charge", "loss", "intensity")


class FragmentFiles:
    """Annotated spectra of files; what cannot be read is a row with its problem.

    paths: files or globs. layout: `deepphospho` (JSON, gzipped or not), `maxquant_msms` (msms.txt), `library` (a row a
    fragment: Spectronaut, OpenSWATH, EasyPQP, DIA-NN, Koina), `prosit` (Parquet with 174 values), `alphabase` (HDF5),
    `msp` or `mzspeclib`; null: found from the content. limit: stop after so many spectra. fixed: modifications that the
    file leaves out, as `Carbamidomethyl@C`; null: as the layout says (`notations.PLAIN`), an empty text: none. fdr:
    highest q-value, or PEP, of a row; null keeps all.
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

    def files(self) -> list[Path]:
        """The files that the paths name, sorted within each glob."""
        return find_files(self.paths, self.wanted)

    def fingerprint(self) -> str:
        """Changes when the spectra may have changed."""
        names = ",".join(path.name for path in self.files())
        settings = {name: value for name, value in vars(self).items() if name != "paths"} | {"reading": READING}
        return f"{content_digest(self.files())}/{names}/{settings_text(settings)}"

    def chunks(self) -> Iterator[FragmentTable]:
        """Tables of some thousand spectra; InputError where there is none at all."""
        readers = ((path, LAYOUTS[self.layout or find_layout(path)]) for path in self.files())
        spectra = (one for path, read in readers for one in read(path, self.fixed, self.fdr))
        spectra = islice(spectra, self.limit)
        other: Counter[str] = Counter()
        count = 0
        while some := list(islice(spectra, ROWS)):
            table = FragmentTable.of(some)
            other += table.other
            count += len(table)
            yield table
        if not count:
            raise InputError(f"{' and '.join(self.paths)}: there is no spectrum in it")
        if other:
            named = ", ".join(f"{series} {number:,}" for series, number in other.most_common(8))
            log.info("fragments that are neither b nor y are left out: %s", named)


def find_layout(path: Path) -> str:
    """The key of LAYOUTS that a file has; InputError where it has none."""
    start = next(read_chunks(path, 1 << 12), b"")
    if start.startswith(HDF5):
        return "alphabase"
    text = start.decode("utf-8", "replace")
    if text.lstrip()[:1] == "{":
        if '"format_version"' in text:
            raise InputError(f"{path} is mzSpecLib in JSON: convert it to its text form (mzspeclib convert -f text)")
        return "deepphospho"
    if is_mzspeclib(text):
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
    raise InputError(f"{path}: its columns are of no library of fragments that is known ({', '.join(LAYOUTS)})")
