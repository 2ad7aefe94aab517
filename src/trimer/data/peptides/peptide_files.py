"""Peptides with retention times or charges, from the tables of search engines and libraries.

Columns are recognised from the header (`peptide_layouts`) or named by the user. Peptides become canonical ProForma.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from trimer.counts import counted
from trimer.data.core.label_table import FILE, LabelTable, check_limit, empty_table, limited, settings_text
from trimer.data.peptides.library_tables import is_library, precursor_columns
from trimer.data.peptides.peptide_layouts import LAYOUTS, Layout, find_layout, lost_modification, unread_modifications
from trimer.data.peptides.peptide_merging import Record, merged
from trimer.data.peptides.peptide_tables import PSM_UTILS, open_table
from trimer.data.peptides.peptide_values import (
    CHARGES,
    BadValue,
    ReadValue,
    read_charge,
    read_charge_to_6,
    read_observed,
    read_retention,
)
from trimer.data.peptides.plain_residues import cells_of, fixed_modifications
from trimer.data.peptides.psm_quality import FDR, Quality, check_fdr, first_column
from trimer.data.text.content import content_digest
from trimer.data.text.missing import known
from trimer.data.text.paths import NamedFiles, named_paths
from trimer.data.text.tables import ROWS, Row, TableFile
from trimer.errors import InputError
from trimer.peptides.notations import COLUMNS, NOTATIONS, PLAIN, canonical, read_fixed
from trimer.peptides.proforma import PeptideError

log = logging.getLogger(__name__)

READING = 3  # increase when the same files yield other peptides or labels, so that old caches are not read
WHATS = ("retention", "charge", "charges")
NOTHING = "nothing"  # no label: peptides to predict for
MERGES = ("median", None)
HINT = "name the column in modifications, and its notation"
SCAN = re.compile(r"(?:\.\d+){3}$")  # follows the raw file in FragPipe's Spectrum
INDEXED = re.compile(r"irt|norm|index|calibrat|aligned", re.I)  # retention times that do not depend on the run


class PeptideFiles(NamedFiles):
    """Peptides of CSV, TSV, Parquet, HDF5 and JSON files (the text files gzipped or not), with one property.

    paths: files or globs. what: "retention", the label `retention` in the units of the file; "charge", the label
    `charge`, one record per row; "charges", the labels `1` to `6`: "1" if any row of the peptide has that charge, else
    "0". layout: a key of LAYOUTS, or `psm_utils` (`psm_utils:sage`) for formats of that package; null: recognised from
    the header. notation, sequence, modifications, sites, charge, retention: the notation (a key of NOTATIONS) and the
    columns, if they differ from the layout. merge: "median" merges the rows of a peptide that agree in the requested
    columns, with the median of their retention times (runs are aligned or kept apart, see `peptide_merging`); null
    keeps every row. id_column, limit: as in LabelledFiles. fixed: modifications that the file does not write, such as
    `Carbamidomethyl@C`; null: the default of the layout (`Layout.fixed`, `notations.PLAIN`), an empty text: none. fdr:
    highest q-value, or PEP if there is none; null also keeps lower ranks (`psm_quality`). left_out: modifications of
    plain residues of a table of the user (not `Layout.complete`) if no row writes them.

    A row that cannot be used has a problem, as decoys do; contaminants are kept. A library with one row per fragment
    has one record per precursor.
    """

    wanted = "a table of peptides"

    def __init__(
        self,
        paths: str | Sequence[str],
        what: str,
        layout: str | None = None,
        notation: str | None = None,
        sequence: str | None = None,
        modifications: str | None = None,
        sites: str | None = None,
        charge: str | None = None,
        retention: str | None = None,
        merge: str | None = "median",
        id_column: str | None = None,
        limit: int | None = None,
        fixed: str | None = None,
        fdr: float | None = FDR,
        left_out: str | None = None,
    ):
        check_limit(limit)
        check_fdr(fdr)
        self.paths = named_paths(paths, self.wanted)
        if what != NOTHING:
            _check("what", what, WHATS)
        _check("merge", merge, MERGES)
        if layout is not None and layout.partition(":")[0] != PSM_UTILS:
            _check("layout", layout, (*LAYOUTS, PSM_UTILS))
        if notation is not None:
            _check("notation", notation, tuple(NOTATIONS))
        for modifications_text in filter(None, (fixed, left_out)):
            read_fixed(modifications_text)
        self.what = what
        self.layout = layout
        self.notation = notation
        self.sequence = sequence
        self.modifications = modifications
        self.sites = sites
        self.charge = charge
        self.retention = retention
        self.merge = merge
        self.id_column = id_column
        self.limit = limit
        self.fixed = fixed
        self.fdr = fdr
        self.left_out = left_out

    def open(self, path: Path) -> TableFile:
        """A file as a table."""
        return open_table(path, self.layout)

    def sequence_columns(self, table: TableFile) -> tuple[str, ...]:
        """Possible names of the peptide column; the table has one of them."""
        return self._layout(table).sequence

    def fingerprint(self) -> str:
        settings = {name: value for name, value in vars(self).items() if name != "paths"} | {"reading": READING}
        names = ",".join(path.name for path in self.files())
        return f"{content_digest(self.files())}/{names}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of a few thousand records, with the requested columns."""
        records: Iterator[Record] = (record for path in self.files() for record in self._records(path, columns))
        if self.what == "charges" or (self.what == "retention" and self.merge):
            records = merged(records, self.what == "charges")
        return limited(self._tables(records, columns), self.limit, " and ".join(self.paths))

    def _tables(self, records: Iterator[Record], columns: Sequence[str]) -> Iterator[LabelTable]:
        labels: dict[str, tuple[str, ...]] = {"charges": CHARGES, NOTHING: ()}
        while chunk := list(islice(records, ROWS)):
            table = empty_table(labels.get(self.what, (self.what,)), columns)
            table.ids = [record.id for record in chunk]
            table.texts = [record.text for record in chunk]
            table.places = [record.location for record in chunk]
            table.problems = {row: record.problem for row, record in enumerate(chunk) if record.problem}
            for position, name in enumerate(columns):
                table.columns[name] = [record.columns[position] for record in chunk]
            if self.what == "charges":
                observed = [None if record.value is None else record.value.split(",") for record in chunk]
                for charge in CHARGES:
                    table.labels[charge] = [None if seen is None else "01"[charge in seen] for seen in observed]
            elif self.what != NOTHING:
                table.labels[self.what] = [record.value for record in chunk]
            yield table

    # ---------------------------------------------------------------- rows

    def _records(self, path: Path, columns: Sequence[str]) -> Iterator[Record]:
        table = self.open(path)
        layout = self._layout(table)
        notation = self.notation or layout.notation
        sequence = _required(table, "sequence", layout.sequence)
        texts = [sequence, *filter(None, (layout.modifications, layout.sites))]
        default = layout.fixed if notation == layout.notation and layout.fixed else PLAIN.get(notation)
        default = self.left_out if default is None and not layout.complete else default
        fixed = fixed_modifications(path.name, cells_of(table, texts), default, self.fixed)
        value, read_value = self._value(table, layout, notation)
        by_name = FILE in columns and FILE not in table
        read_columns = [name for name in columns if not (by_name and name == FILE)]
        used = [*texts, *filter(None, (self.id_column,))]
        quality = None if self.what == NOTHING else Quality(table, self.fdr, layout.engine, used)
        checks = quality.columns if quality else []
        unread = [] if layout.modifications else unread_modifications(table, texts)
        run = self._run(table, layout, value)
        names = [*texts, *filter(None, (value, run, self.id_column)), *checks, *unread, *read_columns]
        first = len(texts)
        for cells, number, problem in self._rows(table, names, [*texts, *filter(None, (value,))]):
            rest = iter([known(cell) for cell in cells[first:]])
            value_cell = next(rest) if value else None
            origin = SCAN.sub("", next(rest) or "") if run else path.name
            name = next(rest) if self.id_column else None
            low_quality = quality.reason(list(islice(rest, len(checks)))) if quality else None
            lost = lost_modification(cells[0] or "", list(islice(rest, len(unread))), unread, HINT)
            column_cells = tuple(path.name if by_name and column == FILE else next(rest) for column in columns)
            try:
                # NA and NAN are also peptides, so the sequence is not checked for missing values.
                text, charge = canonical(notation, fixed, cells[0] or "", *map(known, cells[1:first]))
                label = read_value(value_cell if value else charge)
                problem = problem or low_quality or lost
            except (PeptideError, BadValue) as error:
                text, label = cells[0] or "", None
                problem = problem or str(error)
            gradient = None if value is None or INDEXED.search(value) else origin
            location = table.place_of(number)
            yield Record(name or f"{path.name}:{number}", text, label, column_cells, location, problem, gradient)

    def _rows(self, table: TableFile, names: list[str], key: list[str]) -> Iterator[Row]:
        """The rows of a table; of a library with one row per fragment, the first row of each precursor.

        key: columns that identify a precursor, besides those of `precursor_columns`. A row with a problem is kept if
        no whole row of its precursor stands before it.
        """
        if not is_library(table):
            yield from table.rows(names)
            return
        precursor = [*key, *precursor_columns(table)]
        seen: set[tuple[str | None, ...]] = set()
        rows = 0
        for cells, number, problem in table.rows([*names, *precursor]):
            rows += 1
            identity = tuple(cells[len(names) :])
            if identity not in seen:
                if problem is None:
                    seen.add(identity)
                yield cells[: len(names)], number, problem
        log.info("%s: %s of fragments are %s", table.path.name, counted(rows, "rows"), counted(len(seen), "precursors"))

    def _run(self, table: TableFile, layout: Layout, value: str | None) -> str | None:
        """The column of the raw file, if the retention time depends on the run."""
        depends = self.what == "retention" and value is not None and not INDEXED.search(value)
        return first_column(table, layout.run) if depends else None

    def _layout(self, table: TableFile) -> Layout:
        """The layout of the table, with the columns that the settings name."""
        if self.layout and self.layout in LAYOUTS:
            layout = LAYOUTS[self.layout]
        elif self.sequence and not any(layout.fits(table) for layout in LAYOUTS.values()):
            layout = Layout("proforma", (), complete=False)
        else:
            layout = LAYOUTS[find_layout(table)]
        columns = COLUMNS.get(self.notation, 1) if self.notation else 3  # that the notation has
        return replace(
            layout,
            sequence=(self.sequence,) if self.sequence else layout.sequence,
            charge=(self.charge,) if self.charge else layout.charge,
            retention=(self.retention,) if self.retention else layout.retention,
            modifications=None if columns < 2 else self.modifications or layout.modifications,
            sites=None if columns < 3 else self.sites or layout.sites,
        )

    def _value(self, table: TableFile, layout: Layout, notation: str) -> tuple[str | None, ReadValue]:
        """The column of the label (None: the charge is part of the peptide text), and the reader of its cells."""
        if self.what == NOTHING:
            return None, lambda cell: None
        if self.what == "retention":
            return _required(table, "retention", layout.retention), read_retention
        if self.what == "charges" and layout.observed and layout.observed in table and not self.charge:
            return layout.observed, read_observed
        read = read_charge_to_6 if self.what == "charges" else read_charge
        if notation == "proforma" and not self.charge and first_column(table, layout.charge) is None:
            return None, read
        return _required(table, "charge", layout.charge), read


def _check(key: str, value: str | None, allowed: Sequence[str | None]) -> None:
    if value not in allowed:
        names = ", ".join("null" if name is None else name for name in allowed)
        raise ValueError(f"{key}={value} must be one of {names}")


def _required(table: TableFile, key: str, names: Sequence[str]) -> str:
    """The first of these columns that the table has; InputError if it has none."""
    column = first_column(table, names)
    if column is None and len(names) == 1:
        table.position(names[0])  # raises an error that lists the columns
    if column is None:
        missing = f"none of the columns {', '.join(names)}" if names else f"this layout has no column for {key}"
        raise InputError(f"{table.path}: {missing}; name the column in {key}")
    return column
