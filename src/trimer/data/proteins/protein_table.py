"""Proteins as every source gives them: ids, letters end to end, and why some of them cannot be used.

Shapes: n proteins, P letters in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimer.data.core.ragged import Ragged


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
