"""Proteins as a LightningDataModule for masked language modelling: tokenised once, split by family, memory-mapped."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from trimer.data.core.batches import MaskedBatch
from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport
from trimer.data.core.masked_windows import MaskedSequences, window_lengths
from trimer.data.core.masking import Masking
from trimer.data.core.sampler import EpochPlan
from trimer.data.core.splits import Split
from trimer.data.core.store import Ragged, StoreWriter, content_digest
from trimer.data.modules.base import SplitData, check_split_keys
from trimer.data.proteins.clusters import read_clusters
from trimer.data.proteins.protein_table import ProteinSource, ProteinTable
from trimer.data.proteins.relatives import KMERS
from trimer.data.text.letters import EMPTY, INNER_STOP
from trimer.data.text.spelling import Spelling
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.protein import UNK

log = logging.getLogger(__name__)

LAYOUT = 2  # raise it when the columns of the store change, so that old caches are not read
KEYS = ("cluster", "sequence")  # of the store; the groups of `kmers` are computed when a split asks for them
SAMPLING = ("sequences", "clusters")


class ProteinSequences(SplitData):
    """Proteins of which some residues are hidden, to be found from the others.

    source: where the proteins come from. clusters: a text file with an id, a tab and its cluster a line; null: the
    families that the source knows, if any. split: a column of the source that names the part (`column`, `names`), or
    what must not cross parts (`keys`: cluster and identical sequence, joined by union-find; null for all there are; and
    kmers, groups of relatives by `data.kmers`), with fractions. sampling: an epoch is all "sequences", or one member of
    each of the "clusters". crop: residues of a
    window, `<cls>` and `<eos>` not counted; null reads whole sequences. min_length: residues. max_unknown: share of X
    and unknown letters that a sequence may have. exclude: sequences that must not be in here (their number is in the
    drop report). masking: in training; validation_masking: of validation and test, the published one by default, and
    the same in every epoch and run. tokens_per_batch counts `<cls>` and `<eos>`.
    """

    kind = "proteins"
    batch = MaskedBatch
    has_labels = True  # what was masked is known, so the test split can be measured

    def __init__(
        self,
        source: ProteinSource,
        tokenizer,
        split: Mapping,
        cache: str,
        clusters: str | None = None,
        sampling: str = "sequences",
        crop: int | None = 1022,
        min_length: int = 1,
        max_unknown: float = 1.0,
        exclude=None,
        masking: Masking | None = None,
        validation_masking: Masking | None = None,
        tokens_per_batch: int = 32768,
        shuffle: bool = True,
        num_workers: int = 0,
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
        if sampling not in SAMPLING:
            raise ValueError(f"sampling={sampling} must be one of {', '.join(SAMPLING)}")
        if crop is not None and crop < 1:
            raise ValueError(f"crop={crop} must be 1 residue or more, or null for whole sequences")
        if min_length < 1:
            raise ValueError(f"min_length={min_length} must be 1 residue or more")
        if not 0 <= max_unknown <= 1:
            raise ValueError(f"max_unknown={max_unknown} must be a share from 0 to 1")
        check_split_keys(split, (*KEYS, KMERS))
        self.source = source
        self.tokenizer = tokenizer
        self.clusters = clusters
        self.sampling = sampling
        self.crop = crop
        self.min_length = min_length
        self.max_unknown = max_unknown
        self.exclude = exclude
        self.masking = masking or Masking()
        self.validation_masking = validation_masking or Masking()

    # ---------------------------------------------------------------- preparation

    def _recipe(self) -> dict:
        return {
            "layout": LAYOUT,
            "source": self.source.fingerprint(),
            "tokenizer": self.tokenizer.to_config(),
            "vocabulary": self.tokenizer.vocabulary.digest,
            "clusters": content_digest([Path(self.clusters).expanduser()]) if self.clusters else None,
            "min_length": self.min_length,
            "max_unknown": self.max_unknown,
            "exclude": self.exclude.fingerprint() if self.exclude else None,
            "split_column": self.split_by.get("column"),
        }

    def _write(self, writer: StoreWriter) -> None:
        clusters = read_clusters(self.clusters) if self.clusters else None
        excluded = np.array(sorted(self.exclude.keys()) if self.exclude else [], np.int64)
        report, spelling = DropReport(), Spelling(self.tokenizer, "proteins")
        for rule in (EMPTY, INNER_STOP):
            report.add(rule, [])
        homeless: list[str] = []
        column = self.split_by.get("column")
        for table in self.source.chunks([column] if column else []):
            report.records += len(table)
            columns = self._columns(table, excluded, report, spelling)
            if clusters is not None:
                columns["cluster"], known = clusters.of(columns["id"])
                homeless += [name for name, found in zip(columns["id"], known, strict=True) if not found]
            writer.append(columns)
        if not writer.rows:
            raise InputError(f"data: no protein is left to train on\n{report}")
        if homeless:
            raise InputError(
                f"{self.clusters}: {len(homeless):,} of {writer.rows:,} proteins are in no cluster, such as "
                f"{', '.join(homeless[:3])}: add them, or leave data.clusters empty (a line is an id, a tab, a cluster)"
            )
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict(), "unspelled": spelling.to_dict()}
        log.info("prepared %s: %s of %s proteins left", self.folder, f"{report.left:,}", f"{report.records:,}")

    def _columns(self, table: ProteinTable, excluded: np.ndarray, report: DropReport, spelling: Spelling) -> dict:
        """The columns of the proteins that pass every rule; what does not is counted in the report."""
        sequences = self.tokenizer.encode_many(table.sequences.values, table.sequences.offsets)
        lengths = sequences.lengths - 2
        unclear = np.isin(sequences.values, [UNK, self.tokenizer.vocabulary.ids["X"]])
        share = np.diff(np.concatenate([[0], np.cumsum(unclear)])[sequences.offsets]) / np.maximum(lengths, 1)
        text = memoryview(sequences.values)
        same = digests(text[start:stop] for start, stop in pairwise(sequences.offsets.tolist()))
        left = np.ones(len(table), bool)
        for row, rule in table.problems.items():
            report.add(rule, [table.ids[row]])
            left[row] = False
        rules = {
            f"shorter than {self.min_length} residues": lengths < self.min_length,
            f"more than {100 * self.max_unknown:g} % unknown residues": share > self.max_unknown,
        }
        if len(excluded):
            rules["sequence held out elsewhere"] = np.isin(same, excluded)
        for rule, hit in rules.items():
            hit &= left
            report.add(rule, [table.ids[row] for row in np.flatnonzero(hit)])
            left &= ~hit
        rows = np.flatnonzero(left)
        ids = [table.ids[row] for row in rows]
        spelling.count(table.sequences[row].tobytes().decode("latin-1") for row in rows.tolist())
        columns = {
            "id": ids,
            "tokens": sequences.take(rows),
            "name": digests(name.encode() for name in ids),
            "sequence": same[rows],
        }
        if self.clusters is None and table.clusters is not None:
            # A protein without a family is one of its own.
            named = [table.clusters[row] or f"\0{same[row]}" for row in rows]
            columns["cluster"] = digests(name.encode() for name in named)
        for values in table.columns.values():
            columns["split"] = [values[row] for row in rows]
        return columns

    def _assign(self) -> Split:
        if self.sampling == "clusters" and "cluster" not in self.store.columns:
            raise ConfigError(
                "data.sampling=clusters: the source has no clusters; name a file of them, data.clusters=..."
            )
        return super()._assign()

    def _grouping(self) -> dict[str, np.ndarray]:
        keys = self._keys()
        wanted = self.split_by.get("keys") or list(keys)
        if missing := [name for name in wanted if name not in keys]:
            raise ConfigError(
                f"data.split.keys: the source has no {', '.join(missing)}; name a file, data.clusters=..."
            )
        return {name: keys[name] for name in wanted}

    # ---------------------------------------------------------------- what others read

    def save_reports(self, folder: Path) -> None:
        """Leave the split, its overlap, the drop report and the facts in a run folder."""
        super().save_reports(folder)
        (folder / "sequences.json").write_text(json.dumps(self.facts(), indent=1) + "\n", encoding="utf-8")

    def facts(self) -> dict[str, int | float]:
        """What the prepared sequences are: how many, how long, and what is there more than once."""
        lengths = self.store.ragged("tokens").lengths - 2
        columns = {"ids": "name", "sequences": "sequence", "clusters": "cluster"}
        distinct = {
            f"distinct_{word}": len(np.unique(self.store.array(column)))
            for word, column in columns.items()
            if column in self.store.columns
        }
        return {
            "sequences": len(lengths),
            "residues": int(lengths.sum()),
            "median_length": float(np.median(lengths)),
            "longest": int(lengths.max()),
            "longer_than_crop": 0 if self.crop is None else int((lengths > self.crop).sum()),
            **distinct,
        }

    def _keys(self) -> dict[str, np.ndarray]:
        groups = {KMERS: self._relatives.groups()} if KMERS in (self.split_by.get("keys") or ()) else {}
        return {name: self.store.array(name) for name in KEYS if name in self.store.columns} | groups

    def _protein_tokens(self, rows: np.ndarray) -> Ragged:
        return self.store.ragged("tokens").take(rows)

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"protein": self.store.array("sequence")[rows]}

    def held_out_keys(self) -> frozenset[int]:
        """Digests of the validation and test sequences."""
        self.setup()
        return self.held_out(self.store.array("sequence"))

    def tokens(self, split: str, limit: int | None = None) -> Ragged:
        """The whole sequences of a split, `<cls>` ... `<eos>` as uint8, or the first `limit` of them, as a copy."""
        return self.store.ragged("tokens").take(self.split.rows(split)[:limit])

    def table(self, rows: np.ndarray) -> dict[str, list | np.ndarray]:
        """Of some rows, as those of a batch: `id`, `residues` of the whole sequence, and `cluster`, a number for each.

        Where there are no clusters, identical sequences are one.
        """
        groups = self._keys()
        return {
            "id": self.store.strings("id", rows),
            "residues": self.store.ragged("tokens").lengths[rows] - 2,
            "cluster": groups.get("cluster", groups["sequence"])[rows],
        }

    def evaluation_batches(self, split: str, tokens_per_batch: int | None = None) -> Iterator[MaskedBatch]:
        """The windows of a split with what is masked in them, in order: what every model and baseline is measured on.

        They are the same at any batch size, in every epoch and every run, since each depends on the id alone.
        """
        rows = self.split.rows(split)
        dataset = self._evaluated()
        plan = EpochPlan(self._lengths(rows), tokens_per_batch or self.tokens_per_batch, rows=rows, shuffle=False)
        return (dataset[key] for key in plan.epoch(0))

    # ---------------------------------------------------------------- loaders

    def _lengths(self, rows: np.ndarray) -> np.ndarray:
        return window_lengths(self.store.ragged("tokens").lengths[rows], self.crop)

    def _evaluated(self) -> MaskedSequences:
        return MaskedSequences(self.store, self.validation_masking, self.crop, fixed=True)

    def train_dataloader(self) -> DataLoader:
        rows = self.split.rows("train")
        dataset = MaskedSequences(self.store, self.masking, self.crop, self.seed)
        clusters = self.store.array("cluster")[rows] if self.sampling == "clusters" else None
        return self._training(dataset, self._lengths(rows), rows, clusters)

    def _evaluation_part(self, split: str) -> tuple[MaskedSequences, np.ndarray, np.ndarray]:
        rows = self.split.rows(split)
        return self._evaluated(), self._lengths(rows), rows
