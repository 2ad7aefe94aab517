"""Peptides with a retention time or a charge, from the tables of search engines and libraries.

What column holds what is found from the header (`peptide_layouts`), or named. The texts are canonical ProForma.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from trimer.data.readers.peptide_tables import PSM_UTILS, open_table
from trimer.data.readers.plain_residues import cells_of, fixed_modifications
from trimer.data.sources.files import find_files, named_paths
from trimer.data.sources.label_files import FILE
from trimer.data.sources.label_table import LabelTable, check_limit, empty_table, limited, settings_text
from trimer.data.sources.peptide_layouts import LAYOUTS, Layout, find_layout, first_column
from trimer.data.store import content_digest
from trimer.data.text.missing import known
from trimer.data.text.tables import ROWS, TableFile
from trimer.errors import InputError
from trimer.peptides.notations import NOTATIONS, PLAIN, canonical, read_fixed
from trimer.peptides.proforma import PeptideError

log = logging.getLogger(__name__)

READING = 2  # raise it when the same files give other peptides or labels, so that old caches are not read
WHATS = ("retention", "charge", "charges")
NOTHING = "nothing"  # peptides alone, to predict for
CHARGES = tuple("123456")
MERGES = ("median", None)
ReadValue = Callable[[str | None], str | None]
TRUE = frozenset({"+", "1", "true", "yes", "decoy", "1.0"})
DECOY = "decoy"


class Record(NamedTuple):
    """One row of a table: its peptide, the text of its label (of `charges`, all that it says), and where it stands."""

    id: str
    text: str
    value: str | None
    columns: tuple[str | None, ...]
    place: str
    problem: str | None


class PeptideFiles:
    """Peptides of CSV, TSV, Parquet, HDF5 and JSON files (the text files gzipped or not), with one property.

    paths: files or globs. what: "retention", the label `retention` as the number that stands there; "charge", the label
    `charge`, a record a row; "charges", the labels `1` to `6`, "1" where any row of the peptide has that charge and "0"
    where none has. layout: a key of LAYOUTS, or `psm_utils` (`psm_utils:sage`) for what that package reads; null: found
    from the header. notation, sequence, modifications, sites, charge, retention: the notation (a key of NOTATIONS) and
    the columns, where they are others than the layout says. merge: "median" makes one record of all rows with one
    peptide and the same columns, with the median of their retention times; null keeps every row. id_column, limit: as
    in LabelledFiles. fixed: modifications that the file leaves out, as `Carbamidomethyl@C`; null: as the layout says
    (`Layout.fixed`, `notations.PLAIN`), an empty text: none.

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
    ):
        check_limit(limit)
        self.paths = named_paths(paths, self.wanted)
        if what != NOTHING:
            _check("what", what, WHATS)
        _check("merge", merge, MERGES)
        if layout is not None and layout.partition(":")[0] != PSM_UTILS:
            _check("layout", layout, (*LAYOUTS, PSM_UTILS))
        if notation is not None:
            _check("notation", notation, tuple(NOTATIONS))
        if fixed:
            read_fixed(fixed)
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

    def files(self) -> list[Path]:
        """The files that the paths name, sorted within each glob."""
        return find_files(self.paths, self.wanted)

    def fingerprint(self) -> str:
        settings = {name: value for name, value in vars(self).items() if name != "paths"} | {"reading": READING}
        names = ",".join(path.name for path in self.files())
        return f"{content_digest(self.files())}/{names}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of some thousand records, with the columns asked for."""
        records = (record for path in self.files() for record in self._records(path, columns))
        if self.what == "charges" or (self.what == "retention" and self.merge):
            records = self._merged(records)
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
        table = open_table(path, self.layout)
        layout = self._layout(table)
        notation = self.notation or layout.notation
        sequence = _required(table, "sequence", layout.sequence)
        texts = [sequence, *filter(None, (layout.modifications, layout.sites))]
        default = layout.fixed if notation == layout.notation and layout.fixed else PLAIN.get(notation)
        fixed = fixed_modifications(path.name, cells_of(table, texts), default, self.fixed)
        value, read_value = self._value(table, layout, notation)
        by_name = FILE in columns and FILE not in table
        beside = [name for name in columns if not (by_name and name == FILE)]
        known_decoys = layout.decoy and layout.decoy in table and self.what != NOTHING
        decoy = layout.decoy if known_decoys else None
        names = [*texts, *filter(None, (value, decoy, self.id_column)), *beside]
        first = len(texts)
        for cells, number, problem in table.rows(names):
            rest = iter([known(cell) for cell in cells[first:]])
            cell = next(rest) if value else None
            flag = next(rest) if decoy else None
            name = next(rest) if self.id_column else None
            own = tuple(path.name if by_name and column == FILE else next(rest) for column in columns)
            try:
                # NA and NAN are peptides too: the sequence is taken as it stands.
                text, charge = canonical(notation, fixed, cells[0] or "", *map(known, cells[1:first]))
                label = read_value(cell if value else charge)
                problem = problem or (DECOY if flag and flag.lower() in TRUE else None)
            except (PeptideError, _BadValue) as error:
                text, label = cells[0] or "", None
                problem = problem or str(error)
            yield Record(name or f"{path.name}:{number}", text, label, own, table.place_of(number), problem)

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
        if self.notation and self.notation != "alphabase":
            named["sites"] = None
        if self.notation and self.notation not in ("alphabase", "ms2pip"):
            named["modifications"] = None
        return replace(layout, **named)

    def _value(self, table: TableFile, layout: Layout, notation: str) -> tuple[str | None, ReadValue]:
        """The column of the label (None: the charge that stands behind the peptide), and how its cells are read."""
        if self.what == NOTHING:
            return None, _nothing
        if self.what == "retention":
            return _required(table, "retention", layout.retention), _retention
        if self.what == "charges" and layout.observed and layout.observed in table and not self.charge:
            return layout.observed, _observed
        read = _charge_to_6 if self.what == "charges" else _charge
        if notation == "proforma" and not self.charge and first_column(table, layout.charge) is None:
            return None, read
        return _required(table, "charge", layout.charge), read

    # ---------------------------------------------------------------- one record a peptide

    def _merged(self, records: Iterator[Record]) -> Iterator[Record]:
        """One record of all rows of a peptide with the same columns, at the place of the first."""
        first: dict[object, Record] = {}
        values: dict[object, list[str]] = {}
        rows = 0
        for number, record in enumerate(records):
            key: object = number if record.problem else (record.text, record.columns)
            rows += not record.problem
            first.setdefault(key, record)
            if record.value is not None:
                values.setdefault(key, []).append(record.value)
        peptides = sum(not record.problem for record in first.values())
        if rows > peptides:
            what = "the charges seen" if self.what == "charges" else "the median"
            log.info("%s rows are %s peptides: each has %s of its rows", f"{rows:,}", f"{peptides:,}", what)
        join = _seen if self.what == "charges" else _median
        for key, record in first.items():
            own = values.get(key)
            yield record._replace(value=join(own)) if own and len(own) > 1 else record


class _BadValue(ValueError):
    """A cell that is no retention time or no charge."""


def _nothing(cell: str | None) -> None:
    return None


def _retention(cell: str | None) -> str | None:
    if cell is None:
        return None
    try:
        finite = math.isfinite(float(cell))
    except ValueError:
        finite = False
    if not finite:
        raise _BadValue(f"retention {cell} is no number")
    return cell


def _charge(cell: str | None) -> str | None:
    if cell is None:
        return None
    whole = cell.removesuffix(".0").removeprefix("+")
    if not (whole.isdecimal() and int(whole)):
        raise _BadValue(f"charge {cell} is no whole number above 0")
    return str(int(whole))


def _charge_to_6(cell: str | None) -> str | None:
    charge = _charge(cell)
    if charge is not None and charge not in CHARGES:
        raise _BadValue(f"charge {charge} is above {CHARGES[-1]}")
    return charge


def _observed(cell: str | None) -> str | None:
    if cell is None:
        return None
    try:
        flags = json.loads(cell)
        seen = [str(charge) for charge, flag in enumerate(flags, 1) if flag]
    except (ValueError, TypeError):
        seen = []
    if not seen or seen[-1] not in CHARGES:
        raise _BadValue(f"charges {cell} are no list of at most 6 times 0 or 1, with a 1 in it")
    return ",".join(seen)


def _median(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else str(statistics.median(map(float, values)))


def _seen(values: Sequence[str]) -> str:
    return ",".join(sorted({one for value in values for one in value.split(",")}))


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
