"""Molecules for masked language modelling: the rules that drop records, and the columns of those that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import islice
from pathlib import Path

import numpy as np

from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport
from trimer.data.core.parallel import for_each
from trimer.data.core.ragged import Ragged
from trimer.data.core.shards import Piece, Shard, Shards
from trimer.data.core.store import Store
from trimer.data.core.training_keys import text_keys
from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.molecules.molecule_keys import distinct, held_out, molecule_pieces, molecule_table
from trimer.data.text.spelling import Spelling

CHUNK = 20_000


class MoleculeRecords:
    """The distinct, canonicalised molecules of a source, with their tokens and the keys of a split.

    max_length: tokens, including begin and end tokens; null: no limit. cache, workers: see `molecule_table`.
    """

    kind = "molecules_masked"
    plural, singular = "molecules", "molecule"
    has_labels = False
    layout = 1  # increase when the columns of the store change, so that old caches are not read
    keys = ("inchikey1", "scaffold")  # keys that no two splits may share
    split_by = ()  # default keys of a split: none, so the user must name them
    identity = "inchikey1"
    limits = ("max_length",)
    protein_alphabet = False

    def __init__(
        self,
        source: MoleculeSource,
        tokenizer,
        split: Mapping,
        max_length: int | None = None,
        *,
        cache: Path,
        workers: int | None,
    ):
        if max_length is not None and max_length < 3:
            raise ValueError(f"max_length={max_length} must be 3 or more: two tokens mark begin and end")
        if split.get("column"):
            raise ValueError("split.column: molecules have no columns to split by; use split.keys")
        self.source = source
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.cache = cache
        self.workers = workers

    def recipe(self) -> dict:
        """Settings that shape the columns, besides source, tokenizer and exclusions."""
        spelling = {"spelling": 1} if hasattr(self.tokenizer, "unspelled") else {}  # older caches have no count of it
        return {"max_length": self.max_length, **spelling}

    def columns(
        self, excluded: Set[str], report: DropReport, spelling: Spelling, shards: Iterable[Piece] | None = None
    ) -> Iterator[dict]:
        """Yield the columns of the records that pass every rule; the report counts the dropped ones.

        shards: the molecules, prepared in shards; null: they are read from the source.
        """
        table = molecule_table(self.source, self.cache, stereo=True, workers=self.workers, shards=shards)
        report.merge(DropReport.from_dict(table.manifest["drops"]))
        prepared = None if shards is None else _prepared_tokens(shards)
        for start in range(0, len(table), CHUNK):
            stop = min(start + CHUNK, len(table))
            chunk = {name: table.texts_between(name, start, stop) for name in ("id", "smiles", *self.keys)}
            tokens = None if prepared is None else list(islice(prepared, stop - start))
            yield self._columns(chunk, tokens, excluded, report, spelling)

    def write_shard(self, shards: Shards, shard: Shard, excluded: Callable[[], Set[str]]) -> Store:
        """Prepare the molecules of one shard; held-out ones are dropped when the shards are joined."""
        return shards.write(
            shard, lambda: molecule_pieces(self.source, True, self.workers, shard, self.tokenizer.encode)
        )

    def _columns(
        self,
        chunk: dict[str, list],
        prepared: list[np.ndarray | None] | None,
        excluded: Set[str],
        report: DropReport,
        spelling: Spelling,
    ) -> dict:
        names = np.array(chunk["id"], dtype=object)
        left = ~np.array([held_out(s, [k], excluded) for s, k in zip(chunk["smiles"], chunk["inchikey1"], strict=True)])
        report.add("molecule held out elsewhere", list(names[~left]))
        if prepared is None:
            kept = [text for text, keep in zip(chunk["smiles"], left, strict=True) if keep]
            prepared = for_each(self.tokenizer.encode, kept)
        else:
            prepared = [ids for ids, keep in zip(prepared, left, strict=True) if keep]
        encoded = iter(prepared)
        tokens: list[np.ndarray | None] = [next(encoded) if keep else None for keep in left]
        tokenized = np.array([ids is not None for ids in tokens])
        report.add("molecule cannot be tokenized", list(names[left & ~tokenized]))
        limit = self.max_length
        short = np.array([ids is not None and (limit is None or len(ids) <= limit) for ids in tokens])
        if limit is not None:
            report.add(f"molecule longer than {limit} tokens", list(names[tokenized & ~short]))
        rows = np.flatnonzero(short)
        smiles = [chunk["smiles"][row] for row in rows]
        spelling.count(smiles)
        return {
            "id": list(names[rows]),
            "tokens": Ragged.pack(
                [ids for ids, keep in zip(tokens, short, strict=True) if keep and ids is not None], np.uint16
            ),
            "name": digests(text.encode() for text in smiles),
            **{key: [chunk[key][row] for row in rows] for key in self.keys},
        }

    @staticmethod
    def row_keys(store: Store, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Kind of key -> (n,) keys of the given rows (`data.core.training_keys`)."""
        parts = (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
        keys = [text_keys(store.strings("inchikey1", part)) for part in parts]
        return {"molecule": np.concatenate(keys) if keys else text_keys([])}


def _prepared_tokens(shards: Iterable[Piece]) -> Iterator[np.ndarray | None]:
    """The tokens of each distinct molecule, in the order of `molecule_table`; None where it cannot be tokenized."""
    for columns, repeated in distinct(shards, DropReport()):
        tokens = columns["tokens"]
        for row in np.flatnonzero(~repeated):
            yield tokens[row] if len(tokens[row]) else None
