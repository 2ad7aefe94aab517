"""Molecules as a LightningDataModule for masked language modelling: tokenised once, split, memory-mapped."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import numpy as np
from torch.utils.data import DataLoader

from trimer.data.core.batches import MaskedBatch
from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport
from trimer.data.core.masked_windows import MaskedSequences
from trimer.data.core.masking import Masking
from trimer.data.core.parallel import for_each
from trimer.data.core.sampler import EpochPlan
from trimer.data.core.store import Ragged, StoreWriter
from trimer.data.core.training_keys import text_keys
from trimer.data.modules.base import SplitData, check_split_keys
from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.molecules.molecule_keys import held_out, molecule_table
from trimer.data.text.spelling import Spelling
from trimer.errors import ConfigError, InputError

log = logging.getLogger(__name__)

LAYOUT = 1  # raise it when the columns of the store change, so that old caches are not read
KEYS = ("inchikey1", "scaffold")
CHUNK = 20_000


class MoleculeSequences(SplitData):
    """Molecules of which some tokens are hidden, to be found from the others.

    source: where the molecules come from; each is canonicalised, and taken once. split: the `keys` that must not cross
    parts, inchikey1 or scaffold, with fractions. max_length: tokens, the frame included; longer molecules are left out
    and counted. exclude: molecules that must not be in here, since a later study is judged on them. masking: in
    training; validation_masking: in validation, the same in every epoch and run.
    """

    kind = "molecules_masked"
    batch = MaskedBatch
    has_labels = False

    def __init__(
        self,
        source: MoleculeSource,
        tokenizer,
        split: Mapping,
        cache: str,
        max_length: int = 256,
        exclude=None,
        masking: Masking | None = None,
        validation_masking: Masking | None = None,
        tokens_per_batch: int = 8192,
        shuffle: bool = True,
        num_workers: int = 0,
        prepare_workers: int | None = None,
        seed: int = 0,
    ):
        super().__init__(
            split=split,
            cache=cache,
            tokens_per_batch=tokens_per_batch,
            shuffle=shuffle,
            num_workers=num_workers,
            seed=seed,
        )
        check_split_keys(split, KEYS)
        if max_length < 3:
            raise ValueError(f"max_length={max_length} must be 3 tokens or more: two frame the molecule")
        self.source = source
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.exclude = exclude
        self.masking = masking or Masking(0.3)
        self.validation_masking = validation_masking or Masking(0.3)
        self.prepare_workers = prepare_workers

    def _recipe(self) -> dict:
        return {
            "layout": LAYOUT,
            "source": self.source.fingerprint(),
            "tokenizer": self.tokenizer.to_config(),
            "vocabulary": self.tokenizer.vocabulary.digest,
            "max_length": self.max_length,
            **({"spelling": 1} if hasattr(self.tokenizer, "unspelled") else {}),  # older caches did not count it
            "exclude": self.exclude.fingerprint() if self.exclude else None,
        }

    def _write(self, writer: StoreWriter) -> None:
        excluded = self.exclude.keys() if self.exclude else frozenset()
        table = molecule_table(self.source, self.cache, stereo=True, workers=self.prepare_workers)
        report, spelling = DropReport(), Spelling(self.tokenizer, "molecules")
        report.merge(DropReport.from_dict(table.manifest["drops"]))
        columns = {name: table.strings(name) for name in ("id", "smiles", *KEYS)}
        for start in range(0, len(table), CHUNK):
            part = {name: values[start : start + CHUNK] for name, values in columns.items()}
            writer.append(self._columns(part, excluded, report, spelling))
        if not writer.rows:
            raise InputError(f"data: no molecule is left to train on\n{report}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict(), "unspelled": spelling.to_dict()}
        log.info("prepared %s: %s of %s molecules left", self.folder, f"{report.left:,}", f"{report.records:,}")

    def _columns(self, part: dict[str, list], excluded: frozenset, report: DropReport, spelling: Spelling) -> dict:
        ids = np.array(part["id"], dtype=object)
        left = ~np.array([held_out(s, [k], excluded) for s, k in zip(part["smiles"], part["inchikey1"], strict=True)])
        report.add("molecule held out elsewhere", list(ids[~left]))
        kept = [text for text, keep in zip(part["smiles"], left, strict=True) if keep]
        encoded = iter(for_each(self.tokenizer.encode, kept))
        tokens = [next(encoded) if keep else None for keep in left]
        written = np.array([t is not None for t in tokens])
        report.add("molecule cannot be written", list(ids[left & ~written]))
        short = np.array([t is not None and len(t) <= self.max_length for t in tokens])
        report.add(f"molecule longer than {self.max_length} tokens", list(ids[written & ~short]))
        rows = np.flatnonzero(short)
        names = [part["smiles"][row] for row in rows]
        spelling.count(names)
        return {
            "id": list(ids[rows]),
            "tokens": Ragged.pack([tokens[row] for row in rows], np.uint16),
            "name": digests(name.encode() for name in names),
            **{key: [part[key][row] for row in rows] for key in KEYS},
        }

    def evaluation_batches(self, split: str) -> Iterator[MaskedBatch]:
        """The molecules of a split in order, with what is masked in them: the same in every run."""
        dataset, lengths, rows = self._part(split, self.validation_masking, fixed=True)
        plan = EpochPlan(lengths, self.tokens_per_batch, rows=rows, shuffle=False)
        return (dataset[key] for key in plan.epoch(0))

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"molecule": text_keys(self.store.strings("inchikey1", rows))}

    # ---------------------------------------------------------------- loaders

    def _keys(self) -> dict[str, np.ndarray]:
        return {name: np.array(self.store.strings(name), dtype=object) for name in self.split_by.get("keys") or KEYS}

    def _grouping(self) -> dict[str, np.ndarray]:
        if not self.split_by.get("keys"):
            raise ConfigError("data.split needs `keys`, what must not cross parts: inchikey1, scaffold or both")
        return self._keys()

    def train_dataloader(self) -> DataLoader:
        return self._training(*self._part("train", self.masking, self.seed))

    def _evaluation_part(self, split: str) -> tuple[MaskedSequences, np.ndarray, np.ndarray]:
        return self._part(split, self.validation_masking, fixed=True)

    def _part(self, split: str, masking: Masking, seed: int = 0, fixed: bool = False):
        rows = self.split.rows(split)
        dataset = MaskedSequences(self.store, masking, None, seed, fixed, self.tokenizer.alphabet)
        return dataset, self.store.ragged("tokens").lengths[rows], rows
