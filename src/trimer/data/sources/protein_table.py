"""Proteins as every source gives them: ids, letters end to end, and why some of them cannot be used.

Shapes: n proteins, P letters in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from trimer.data.store import Ragged

WHITE = bytes(range(33))  # no part of a sequence: line ends, blanks and other control characters
STOP = ord("*")
EMPTY = "no sequence"
INNER_STOP = "stop (*) inside the sequence"


@dataclass
class ProteinTable:
    """n proteins of a source, in its order.

    sequences: n rows of uint8 letters. clusters: the family of each, where the source knows it. columns: the columns
    that were asked for. problems: row -> the rule that it breaks; its sequence may be anything.
    """

    ids: list[str]
    sequences: Ragged
    clusters: list[str | None] | None = None
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, rows: int) -> ProteinTable:
        """The first `rows` proteins."""
        return ProteinTable(
            self.ids[:rows],
            self.sequences.slice(0, min(rows, len(self))),
            None if self.clusters is None else self.clusters[:rows],
            {name: values[:rows] for name, values in self.columns.items()},
            {row: rule for row, rule in self.problems.items() if row < rows},
        )


class ProteinSource(Protocol):
    """What gives proteins in chunks: files, UniRef, the simulation."""

    def fingerprint(self) -> str: ...

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[ProteinTable]: ...


def letters_of(texts: Sequence[str | None]) -> Ragged:
    """The letters of n texts end to end, without white space; what is no Latin-1 becomes `?`."""
    rows = [(text or "").encode("latin-1", "replace").translate(None, WHITE) for text in texts]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return Ragged(np.frombuffer(b"".join(rows), np.uint8), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def without_stops(sequences: Ragged) -> tuple[Ragged, dict[int, str]]:
    """The sequences without the one stop (`*`) that may end them; the rows that hold another one, or nothing."""
    values, offsets = sequences.values, sequences.offsets
    problems: dict[int, str] = {}
    if values.min(initial=255) <= STOP and (values == STOP).any():  # letters lie above: one look tells
        last = offsets[1:][sequences.lengths > 0] - 1
        keep = np.ones(len(values), bool)
        keep[last] = values[last] != STOP
        sequences = Ragged(values[keep], np.concatenate([[0], np.cumsum(keep)])[offsets])
        stops = np.flatnonzero(sequences.values == STOP)
        rows = np.searchsorted(sequences.offsets, stops, side="right") - 1
        problems = dict.fromkeys(np.unique(rows).tolist(), INNER_STOP)
    return sequences, problems | dict.fromkeys(np.flatnonzero(sequences.lengths == 0).tolist(), EMPTY)
