"""Molecules as records of masked language modelling: what is dropped, and the columns of those that are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import numpy as np

from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport
from trimer.data.core.parallel import for_each
from trimer.data.core.ragged import Ragged
from trimer.data.core.store import Store
from trimer.data.core.training_keys import text_keys
from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.molecules.molecule_keys import held_out, molecule_table
from trimer.data.text.spelling import Spelling

CHUNK = 20_000


class MoleculeRecords:
    """The molecules of a source, canonical and each once, with the columns `tokens` and the keys of a split.

    max_length: tokens, the frame included; null: molecules of any length. cache, workers: of `molecule_table`.
    """

    kind = "molecules_masked"
    plural, singular = "molecules", "molecule"
    has_labels = False
    layout = 1  # raise it when the columns of the store change, so that old caches are not read
    keys = ("inchikey1", "scaffold")  # that no two splits may share
    split_by = ()  # where a split names no keys: an error
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
            raise ValueError(f"max_length={max_length} must be 3 tokens or more: two frame the molecule")
        if split.get("column"):
            raise ValueError("split.column: sources of molecules have no such column; split by keys")
        self.source = source
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.cache = cache
        self.workers = workers

    def recipe(self) -> dict:
        """What shapes the columns, beside source, tokenizer and exclusions."""
        spelling = {"spelling": 1} if hasattr(self.tokenizer, "unspelled") else {}  # older caches did not count it
        return {"max_length": self.max_length, **spelling}

    def columns(self, excluded: Set[str], report: DropReport, spelling: Spelling) -> Iterator[dict]:
        """The columns of the records that pass every rule, chunk by chunk; the report counts the others."""
        table = molecule_table(self.source, self.cache, stereo=True, workers=self.workers)
        report.merge(DropReport.from_dict(table.manifest["drops"]))
        columns = {name: table.strings(name) for name in ("id", "smiles", *self.keys)}
        for start in range(0, len(table), CHUNK):
            part = {name: values[start : start + CHUNK] for name, values in columns.items()}
            yield self._columns(part, excluded, report, spelling)

    def _columns(self, part: dict[str, list], excluded: Set[str], report: DropReport, spelling: Spelling) -> dict:
        ids = np.array(part["id"], dtype=object)
        left = ~np.array([held_out(s, [k], excluded) for s, k in zip(part["smiles"], part["inchikey1"], strict=True)])
        report.add("molecule held out elsewhere", list(ids[~left]))
        kept = [text for text, keep in zip(part["smiles"], left, strict=True) if keep]
        encoded = iter(for_each(self.tokenizer.encode, kept))
        tokens = [next(encoded) if keep else None for keep in left]
        written = np.array([t is not None for t in tokens])
        report.add("molecule cannot be written", list(ids[left & ~written]))
        limit = self.max_length
        short = np.array([t is not None and (limit is None or len(t) <= limit) for t in tokens])
        if limit is not None:
            report.add(f"molecule longer than {limit} tokens", list(ids[written & ~short]))
        rows = np.flatnonzero(short)
        smiles = [part["smiles"][row] for row in rows]
        spelling.count(smiles)
        return {
            "id": list(ids[rows]),
            "tokens": Ragged.pack([tokens[row] for row in rows], np.uint16),
            "name": digests(text.encode() for text in smiles),
            **{key: [part[key][row] for row in rows] for key in self.keys},
        }

    @staticmethod
    def row_keys(store: Store, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Kind of key -> (n,) keys of some rows (`data.core.training_keys`)."""
        return {"molecule": text_keys(store.strings("inchikey1", rows))}
