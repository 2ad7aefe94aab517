"""From labelled records to the columns of a store, with the rules that drop records.

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
    """Applies all rules to labelled records; `shortened` counts the sequences that were shortened.

    sequences, labels: readers of the sequences and labels. max_length, too_long: see `LabelledSequences`. excluded:
    keys of sequences to drop (`held_out_keys` of other data). kept: column of the store -> column of the source.
    """

    def __init__(
        self, sequences: SequenceKind, labels: LabelReader, max_length: int, too_long: str, excluded: Set, kept: Mapping
    ):
        self.sequences, self.labels = sequences, labels
        self.max_length, self.too_long = max_length, too_long
        self.excluded, self.kept = excluded, dict(kept)
        self.shortened = 0

    def columns(self, table: LabelTable, report: DropReport) -> dict:
        """The columns of the records that pass; the report counts the others and locates examples."""
        report.records += len(table)
        for row, problem in table.problems.items():
            rule, _, why = problem.partition(": ") if problem.startswith(UNREADABLE) else (problem, "", "")
            report.add(rule, [f"{table.places[row]} ({why})" if why else table.places[row]])
        table = table.take([row for row in range(len(table)) if row not in table.problems])
        sequences = self.sequences.read(table.texts)
        for rule, rows in sequences.dropped.items():
            shown = {row: f": {sequences.why[row]}" if row in sequences.why else "" for row in rows}
            report.add(rule, [f"{table.places[row]} ({table.texts[row][:40]}{shown[row]})" for row in rows])
        left = np.array([tokens is not None for tokens in sequences.tokens], bool)
        if self.excluded:
            held_out = [row for row in np.flatnonzero(left).tolist() if self._key(sequences, row) in self.excluded]
            report.add(HELD_OUT, [table.places[row] for row in held_out])
            left[held_out] = False
        values, unlabelled = self.labels.columns(table)
        for rule, rows in unlabelled.items():
            rows = [row for row in rows if left[row]]
            report.add(rule, [table.places[row] for row in rows])
            left[rows] = False
        lengths = np.array([0 if tokens is None else len(tokens) for tokens in sequences.tokens])
        long = np.flatnonzero(left & (lengths > self.max_length))
        if self.too_long == "drop":
            report.add(f"longer than {self.max_length} tokens", [table.places[row] for row in long])
            left[long] = False
        else:
            self.shortened += len(long)
        return self._columns(table, sequences, values, np.flatnonzero(left).tolist())

    def _columns(self, table: LabelTable, sequences: Sequences, values: dict, rows: list[int]) -> dict:
        tokens = [ids for row in rows if (ids := self._shortened(sequences.tokens[row])) is not None]
        columns = {
            "id": [table.ids[row] for row in rows],
            "text": [sequences.texts[row] for row in rows],
            "tokens": Ragged.pack(tokens, sequences.dtype),
            **{name: [sequences.keys[name][row] for row in rows] for name in self.sequences.keys},
            **{name: [column[row] for row in rows] for name, column in values.items() if isinstance(column, list)},
            **{name: column[rows] for name, column in values.items() if isinstance(column, np.ndarray)},
        }
        if sequences.modifications is not None:
            modifications = (sequences.modifications[row] for row in rows)
            columns["modifications"] = Ragged.pack(
                [numbers for numbers in modifications if numbers is not None], np.uint16
            )
        for name, column in self.kept.items():
            columns[name] = [table.columns[column][row] for row in rows]
        return columns

    def _shortened(self, tokens: np.ndarray | None) -> np.ndarray | None:
        return None if tokens is None else shortened(tokens, self.max_length, self.too_long)

    def _key(self, sequences: Sequences, row: int) -> int | str | None:
        """The key of a sequence in `held_out_keys` of other data."""
        tokens = sequences.tokens[row]
        if self.sequences.plural == "proteins" and tokens is not None:
            return int(digests([tokens.tobytes()])[0])
        return sequences.keys[self.sequences.keys[0]][row]
