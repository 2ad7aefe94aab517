"""The table of proteins that every source yields: ids, concatenated letters, and problems.

Shapes: n proteins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimer.data.core.ragged import Ragged


@dataclass
class ProteinTable:
    """n proteins in the order of their source.

    sequences: n rows of uint8 letters. clusters: the family of each, if known. columns: the requested columns.
    problems: row -> why it cannot be used; its sequence is then undefined.
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
    """A source that yields proteins in chunks: files, UniRef, the simulation."""

    def fingerprint(self) -> str: ...

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[ProteinTable]: ...
