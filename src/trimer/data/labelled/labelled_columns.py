"""From labelled records to the columns of a store: what passes every rule, and why the rest does not.

Shapes: n records of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport
from trimer.data.core.label_table import LabelTable
from trimer.data.core.ragged import Ragged
from trimer.data.labelled.label_values import LabelReader
from trimer.data.labelled.sequence_kinds import SequenceKind, Sequences, shortened
from trimer.data.molecules.molecule_rules import UNREADABLE

HELD_OUT = "held out elsewhere"


class LabelledColumns:
    """The rules that a labelled record has to pass; `shortened` counts those of which a part was kept.

    sequences: what reads the texts, and labels: what reads those of the labels. max_length, too_long: as those of the
    data. excluded: keys of sequences that must not be in here (`held_out_keys` of other data). kept: column of the
    store -> column of the source.
    """

    def __init__(
        self, sequences: SequenceKind, labels: LabelReader, max_length: int, too_long: str, excluded: Set, kept: Mapping
    ):
        self.sequences, self.labels = sequences, labels
        self.max_length, self.too_long = max_length, too_long
        self.excluded, self.kept = excluded, dict(kept)
        self.shortened = 0

    def columns(self, table: LabelTable, report: DropReport) -> dict:
        """The columns of the records that pass; the others go into the report, with their places."""
        report.records += len(table)
        for row, problem in table.problems.items():
            rule, _, why = problem.partition(": ") if problem.startswith(UNREADABLE) else (problem, "", "")
            report.add(rule, [f"{table.places[row]} ({why})" if why else table.places[row]])
        table = table.take([row for row in range(len(table)) if row not in table.problems])
        found = self.sequences.read(table.texts)
        for rule, rows in found.dropped.items():
            told = {row: f"{table.texts[row][:40]}: {found.why[row]}" for row in rows if row in found.why}
            report.add(rule, [f"{table.places[row]} ({told.get(row, table.texts[row][:40])})" for row in rows])
        left = np.array([tokens is not None for tokens in found.tokens], bool)
        if self.excluded:
            held_out = [row for row in np.flatnonzero(left) if self._key(found, row) in self.excluded]
            report.add(HELD_OUT, [table.places[row] for row in held_out])
            left[held_out] = False
        values, unlabelled = self.labels.columns(table)
        for rule, rows in unlabelled.items():
            rows = [row for row in rows if left[row]]
            report.add(rule, [table.places[row] for row in rows])
            left[rows] = False
        lengths = np.array([0 if tokens is None else len(tokens) for tokens in found.tokens])
        long = np.flatnonzero(left & (lengths > self.max_length))
        if self.too_long == "drop":
            report.add(f"longer than {self.max_length} tokens", [table.places[row] for row in long])
            left[long] = False
        else:
            self.shortened += len(long)
        return self._taken(table, found, values, np.flatnonzero(left))

    def _taken(self, table: LabelTable, found: Sequences, values: dict, rows: np.ndarray) -> dict:
        tokens = [shortened(found.tokens[row], self.max_length, self.too_long) for row in rows]
        columns = {
            "id": [table.ids[row] for row in rows],
            "text": [found.texts[row] for row in rows],
            "tokens": Ragged.pack(tokens, found.dtype),
            **{name: [found.keys[name][row] for row in rows] for name in self.sequences.keys},
            **{name: [column[row] for row in rows] for name, column in values.items() if isinstance(column, list)},
            **{name: column[rows] for name, column in values.items() if isinstance(column, np.ndarray)},
        }
        if found.modifications is not None:
            columns["modifications"] = Ragged.pack([found.modifications[row] for row in rows], np.uint16)
        for name, column in self.kept.items():
            columns[name] = [table.columns[column][row] for row in rows]
        return columns

    def _key(self, found: Sequences, row: int):
        """What `held_out_keys` of other data knows a sequence by."""
        if self.sequences.plural == "proteins":
            return digests([found.tokens[row].tobytes()])[0]
        return found.keys[self.sequences.keys[0]][row]
