"""Peptides with a retention time or a charge, from the tables of search engines and libraries.

What column holds what is found from the header (`peptide_layouts`), or named. The texts are canonical ProForma.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from trimer.data.core.label_table import FILE, LabelTable, check_limit, empty_table, limited, settings_text
from trimer.data.peptides.peptide_layouts import LAYOUTS, Layout, find_layout, lost_modification, unread_modifications
from trimer.data.peptides.peptide_merging import Record, merged
from trimer.data.peptides.peptide_tables import PSM_UTILS, open_table
from trimer.data.peptides.peptide_values import (
    CHARGES,
    BadValue,
    ReadValue,
    read_charge,
    read_charge_to_6,
    read_nothing,
    read_observed,
    read_retention,
)
from trimer.data.peptides.plain_residues import cells_of, fixed_modifications
from trimer.data.peptides.psm_quality import FDR, Quality, check_fdr, first_column
from trimer.data.text.content import content_digest
from trimer.data.text.missing import known
from trimer.data.text.paths import find_files, named_paths
from trimer.data.text.tables import ROWS, TableFile
from trimer.errors import InputError
from trimer.peptides.notations import COLUMNS, NOTATIONS, PLAIN, canonical, read_fixed
from trimer.peptides.proforma import PeptideError

READING = 2  # raise it when the same files give other peptides or labels, so that old caches are not read
WHATS = ("retention", "charge", "charges")
NOTHING = "nothing"  # peptides alone, to predict for
MERGES = ("median", None)
HINT = "name it in modifications, and its notation"
SCAN = re.compile(r"(?:\.\d+){3}$")  # of FragPipe's Spectrum, behind the raw file
INDEXED = re.compile(r"irt|norm|index|calibrat|aligned", re.I)  # a retention time that does not depend on the run


class PeptideFiles:
    """Peptides of CSV, TSV, Parquet, HDF5 and JSON files (the text files gzipped or not), with one property.

    paths: files or globs. what: "retention", the label `retention` as the number that stands there; "charge", the label
    `charge`, a record a row; "charges", the labels `1` to `6`, "1" where any row of the peptide has that charge and "0"
    where none has. layout: a key of LAYOUTS, or `psm_utils` (`psm_utils:sage`) for what that package reads; null: found
    from the header. notation, sequence, modifications, sites, charge, retention: the notation (a key of NOTATIONS) and
    the columns, where they are others than the layout says. merge: "median" makes one record of all rows with one
    peptide and the same columns, with the median of their retention times (runs are aligned or kept apart, see
    `peptide_merging`); null keeps every row. id_column, limit: as in LabelledFiles. fixed: modifications that the file
    leaves out, as `Carbamidomethyl@C`; null: as the layout says (`Layout.fixed`, `notations.PLAIN`), an empty text:
    none. fdr: highest q-value, or PEP where there is none; null also keeps lower ranks (`psm_quality`). left_out: what
    plain residues carry where the layout does not say it, and no row writes it.

    A row that cannot be used is given with its problem, decoys too; contaminants stay.
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
        for given in filter(None, (fixed, left_out)):
            read_fixed(given)
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

    def files(self) -> list[Path]:
        """The files that the paths name, sorted within each glob."""
        return find_files(self.paths, self.wanted)

    def open(self, path: Path) -> TableFile:
        """What a file holds, as a table."""
        return open_table(path, self.layout)

    def sequence_columns(self, table: TableFile) -> tuple[str, ...]:
        """The names that the column of the peptides may have; the table has one of them."""
        return self._layout(table).sequence

    def fingerprint(self) -> str:
        settings = {name: value for name, value in vars(self).items() if name != "paths"} | {"reading": READING}
        names = ",".join(path.name for path in self.files())
        return f"{content_digest(self.files())}/{names}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of some thousand records, with the columns asked for."""
        records = (record for path in self.files() for record in self._records(path, columns))
        if self.what == "charges" or (self.what == "retention" and self.merge):
            records = merged(records, self.what == "charges")
        return limited(self._tables(records, columns), self.limit, " and ".join(self.paths))

    def _tables(self, records: Iterator[Record], columns: Sequence[str]) -> Iterator[LabelTable]:
        labels = {"charges": CHARGES, NOTHING: ()}.get(self.what, (self.what,))
        while some := list(islice(records, ROWS)):
            table = empty_table(labels, columns)
            table.ids = [record.id for record in some]
            table.texts = [record.text for record in some]
            table.places = [record.place for record in some]
            table.problems = {row: record.problem for row, record in enumerate(some) if record.problem}
            for place, name in enumerate(columns):
                table.columns[name] = [record.columns[place] for record in some]
            if self.what == "charges":
                seen = [None if record.value is None else record.value.split(",") for record in some]
                table.labels = {one: [None if own is None else "01"[one in own] for own in seen] for one in CHARGES}
            elif self.what != NOTHING:
                table.labels[self.what] = [record.value for record in some]
            yield table

    # ---------------------------------------------------------------- rows

    def _records(self, path: Path, columns: Sequence[str]) -> Iterator[Record]:
        table = self.open(path)
        layout = self._layout(table)
        notation = self.notation or layout.notation
        sequence = _required(table, "sequence", layout.sequence)
        texts = [sequence, *filter(None, (layout.modifications, layout.sites))]
        default = layout.fixed if notation == layout.notation and layout.fixed else PLAIN.get(notation)
        default = self.left_out if default is None else default
        fixed = fixed_modifications(path.name, cells_of(table, texts), default, self.fixed)
        value, read_value = self._value(table, layout, notation)
        by_name = FILE in columns and FILE not in table
        beside = [name for name in columns if not (by_name and name == FILE)]
        used = [*texts, *filter(None, (self.id_column,))]
        quality = None if self.what == NOTHING else Quality(table, self.fdr, layout.engine, used)
        checks = quality.columns if quality else []
        unread = [] if layout.modifications else unread_modifications(table, texts)
        run = self._run(table, layout, value)
        names = [*texts, *filter(None, (value, run, self.id_column)), *checks, *unread, *beside]
        first = len(texts)
        for cells, number, problem in table.rows(names):
            rest = iter([known(cell) for cell in cells[first:]])
            cell = next(rest) if value else None
            origin = SCAN.sub("", next(rest) or "") if run else path.name
            name = next(rest) if self.id_column else None
            against = quality.reason(list(islice(rest, len(checks)))) if quality else None
            lost = lost_modification(cells[0] or "", list(islice(rest, len(unread))), unread, HINT)
            own = tuple(path.name if by_name and column == FILE else next(rest) for column in columns)
            try:
                # NA and NAN are peptides too: the sequence is taken as it stands.
                text, behind = canonical(notation, fixed, cells[0] or "", *map(known, cells[1:first]))
                label = read_value(cell if value else behind)
                problem = problem or against or lost
            except (PeptideError, BadValue) as error:
                text, label = cells[0] or "", None
                problem = problem or str(error)
            origin = None if value is None or INDEXED.search(value) else origin
            place = table.place_of(number)
            yield Record(name or f"{path.name}:{number}", text, label, own, place, problem, origin)

    def _run(self, table: TableFile, layout: Layout, value: str | None) -> str | None:
        """The column of the raw file, where it matters to the retention time."""
        matters = self.what == "retention" and value is not None and not INDEXED.search(value)
        return first_column(table, layout.run) if matters else None

    def _layout(self, table: TableFile) -> Layout:
        """What is known of the table's columns, with those that the settings name in their place."""
        if self.layout and self.layout in LAYOUTS:
            layout = LAYOUTS[self.layout]
        elif self.sequence and not any(layout.fits(table) for layout in LAYOUTS.values()):
            layout = Layout("proforma", ())
        else:
            layout = LAYOUTS[find_layout(table)]
        named = {name: (own,) for name in ("sequence", "charge", "retention") if (own := getattr(self, name))}
        named |= {name: own for name in ("modifications", "sites") if (own := getattr(self, name))}
        if self.notation and COLUMNS.get(self.notation, 1) < 3:
            named["sites"] = None
        if self.notation and COLUMNS.get(self.notation, 1) < 2:
            named["modifications"] = None
        return replace(layout, **named)

    def _value(self, table: TableFile, layout: Layout, notation: str) -> tuple[str | None, ReadValue]:
        """The column of the label (None: the charge that stands behind the peptide), and how its cells are read."""
        if self.what == NOTHING:
            return None, read_nothing
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
        names = ", ".join("null" if one is None else one for one in allowed)
        raise ValueError(f"{key}={value} must be one of {names}")


def _required(table: TableFile, key: str, names: Sequence[str]) -> str:
    """The first of the columns that the table has; InputError for none."""
    found = first_column(table, names)
    if found is None and len(names) == 1:
        table.position(names[0])  # tells what there is
    if found is None:
        looked = f"none of {', '.join(names)}" if names else f"no column for {key} in this layout"
        raise InputError(f"{table.path}: {looked}; name the column in {key}")
    return found
