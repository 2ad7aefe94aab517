"""Labelled records as every source gives them: ids, sequences, the texts of their labels, and why some cannot be used.

What a label text means (a class, a number) is not decided here. Shapes: n records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimer.errors import InputError

FILE = "file"  # the column that names the file of a record, where the table has no such column


@dataclass
class LabelTable:
    """n records as they stand in a file: an id, a sequence (SMILES or residues) and the text of each label.

    labels: label -> n texts, None where missing. columns: what else was asked for, as the column of a split. places:
    where each record stands, as 'superclass.csv, line 12'. problems: row -> why the record cannot be used; its texts
    may be anything.
    """

    ids: list[str]
    texts: list[str]
    labels: dict[str, list[str | None]]
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Iterable[int]) -> LabelTable:
        """The given rows (not negative), in the order given."""
        rows = [int(row) for row in rows]
        return LabelTable(
            [self.ids[row] for row in rows],
            [self.texts[row] for row in rows],
            {name: [values[row] for row in rows] for name, values in self.labels.items()},
            {name: [values[row] for row in rows] for name, values in self.columns.items()},
            [self.places[row] for row in rows],
            {new: self.problems[row] for new, row in enumerate(rows) if row in self.problems},
        )

    @classmethod
    def concatenate(cls, tables: Sequence[LabelTable]) -> LabelTable:
        """One or more tables end to end; ValueError where they have different labels or columns."""
        whole = empty_table(tables[0].labels, tables[0].columns)
        for table in tables:
            if table.labels.keys() != whole.labels.keys() or table.columns.keys() != whole.columns.keys():
                raise ValueError(f"tables of {[*whole.labels, *whole.columns]} and {[*table.labels, *table.columns]}")
            whole.problems |= {row + len(whole): problem for row, problem in table.problems.items()}
            whole.ids += table.ids
            whole.texts += table.texts
            whole.places += table.places
            for name, values in table.labels.items():
                whole.labels[name] += values
            for name, values in table.columns.items():
                whole.columns[name] += values
        return whole


class LabelSource(Protocol):
    """What gives labelled records in chunks: tables, FASTA files, FooDB, DeepLoc.

    `fingerprint()` changes when the records may have changed. Chunks have the same labels, and the columns asked for.
    """

    def fingerprint(self) -> str: ...

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]: ...


def empty_table(labels: Iterable[str], columns: Iterable[str] = ()) -> LabelTable:
    """A table without records, to append to."""
    return LabelTable([], [], {name: [] for name in labels}, {name: [] for name in columns})


def label_names(labels: str | Sequence[str] | None) -> list[str] | None:
    """One name or several as a list; ValueError for none and for a name given twice."""
    if labels is None:
        return None
    names = [labels] if isinstance(labels, str) else [str(name) for name in labels]
    if not names or not all(names):
        raise ValueError("labels is empty: name a column, or several")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(f"labels names '{twice}' twice")
    return names


def check_limit(limit: int | None) -> None:
    """ValueError for a limit that leaves no record."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} must be 1 or more, or null")


def limited(tables: Iterable[LabelTable], limit: int | None, source: str) -> Iterator[LabelTable]:
    """The tables that are not empty, up to `limit` records in all; InputError where there is none at all."""
    count = 0
    for table in tables:
        if limit is not None and count + len(table) > limit:
            table = table.take(range(limit - count))
        count += len(table)
        if len(table):
            yield table
        if count == limit:
            return
    if not count:
        raise InputError(f"{source}: there is no record in it")


def settings_text(settings: Mapping[str, object]) -> str:
    """Settings as one line, for a fingerprint."""
    return "/".join(f"{name}={value}" for name, value in settings.items())
