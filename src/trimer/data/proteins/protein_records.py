"""Proteins for masked language modelling: the rules that drop records, and the columns of those that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import numpy as np

from trimer.data.core.draws import digests
from trimer.data.core.drops import NO_SEQUENCE, DropReport
from trimer.data.core.shards import Piece, Shard, Shards
from trimer.data.core.store import Store
from trimer.data.proteins.protein_table import ProteinSource, ProteinTable
from trimer.data.text.letters import INNER_STOP
from trimer.data.text.spelling import Spelling
from trimer.tokenizers.protein import UNK


class ProteinRecords:
    """The proteins of a source, uncropped, with their tokens and the keys of a split.

    min_length: residues. max_unknown: largest fraction of X and unknown letters. split: settings of the split; its
    `column` is read from the source.
    """

    kind = "proteins"
    plural, singular = "proteins", "protein"
    has_labels = True  # after training, the masked residues of the test split are predicted
    layout = 2  # increase when the columns of the store change, so that old caches are not read
    keys = ("cluster", "sequence")  # keys that no two splits may share
    split_by = keys  # default keys of a split, as far as the source has them
    identity = "sequence"
    limits = ("min_length", "max_unknown")
    protein_alphabet = True

    def __init__(self, source: ProteinSource, tokenizer, split: Mapping, min_length: int = 1, max_unknown: float = 1.0):
        if min_length < 1:
            raise ValueError(f"min_length={min_length} must be 1 residue or more")
        if not 0 <= max_unknown <= 1:
            raise ValueError(f"max_unknown={max_unknown} must be a fraction from 0 to 1")
        self.source = source
        self.tokenizer = tokenizer
        self.split_column = split.get("column")
        self.min_length = min_length
        self.max_unknown = max_unknown

    def recipe(self) -> dict:
        """Settings that shape the columns, besides source, tokenizer and exclusions."""
        return {
            "clusters": None,
            "min_length": self.min_length,
            "max_unknown": self.max_unknown,
            "split_column": self.split_column,
        }

    def columns(
        self, excluded: Set[int], report: DropReport, spelling: Spelling, shards: Iterable[Piece] | None = None
    ) -> Iterator[dict]:
        """Yield the columns of the records that pass every rule; the report counts the dropped ones.

        shards: the records, prepared in shards; null: they are read from the source.
        """
        for rule in (NO_SEQUENCE, INNER_STOP):
            report.add(rule, [])
        for piece in self._pieces(excluded) if shards is None else shards:
            report.merge(piece.report)
            spelling.add(piece.spelling)
            yield dict(piece.columns)

    def write_shard(self, shards: Shards, shard: Shard, excluded: Callable[[], Set[int]]) -> Store:
        """Prepare the records of one shard."""
        return shards.write(shard, lambda: self._pieces(excluded(), shard))

    def _pieces(self, excluded: Set[int], shard: Shard | None = None) -> Iterator[Piece]:
        """The records of each chunk of the source, or of a shard of it."""
        held_out = np.array(sorted(excluded), np.int64)
        chunks = self.source.chunks([self.split_column] if self.split_column else [])
        for table in chunks if shard is None else shard.chunks_of_shard(chunks):
            report, spelling = DropReport(len(table)), Spelling(self.tokenizer, self.plural)
            columns = self._columns(table, held_out, report, spelling)
            yield Piece(columns, report, spelling.counts())

    def _columns(self, table: ProteinTable, held_out: np.ndarray, report: DropReport, spelling: Spelling) -> dict:
        sequences = self.tokenizer.encode_many(table.sequences.values, table.sequences.offsets)
        lengths = sequences.lengths - 2
        unknown = np.isin(sequences.values, [UNK, self.tokenizer.vocabulary.ids["X"]])
        share = np.diff(np.concatenate([[0], np.cumsum(unknown)])[sequences.offsets]) / np.maximum(lengths, 1)
        sequence_digests = digests(sequences[row].tobytes() for row in range(len(table)))
        left = np.ones(len(table), bool)
        for row, rule in table.problems.items():
            report.add(rule, [table.ids[row]])
            left[row] = False
        rules = {
            f"shorter than {self.min_length} residues": lengths < self.min_length,
            f"more than {100 * self.max_unknown:g} % unknown residues": share > self.max_unknown,
        }
        if len(held_out):
            rules["sequence held out elsewhere"] = np.isin(sequence_digests, held_out)
        for rule, hit in rules.items():
            hit &= left
            report.add(rule, [table.ids[row] for row in np.flatnonzero(hit)])
            left &= ~hit
        rows = np.flatnonzero(left)
        ids = [table.ids[row] for row in rows]
        if spelling.unspelled is not None:
            spelling.count(table.sequences[row].tobytes().decode("latin-1") for row in rows.tolist())
        columns = {
            "id": ids,
            "tokens": sequences.take(rows),
            "name": digests(name.encode() for name in ids),
            "sequence": sequence_digests[rows],
        }
        if table.clusters is not None:
            # A protein without a family forms a separate one.
            families = [table.clusters[row] or f"\0{sequence_digests[row]}" for row in rows]
            columns["cluster"] = digests(name.encode() for name in families)
        for values in table.columns.values():
            columns["split"] = [values[row] for row in rows]
        return columns

    @staticmethod
    def row_keys(store: Store, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Kind of key -> (n,) keys of the given rows (`data.core.training_keys`)."""
        return {"protein": store.array("sequence")[rows]}
