"""Proteins or molecules for masked language modelling as a LightningDataModule: tokenised once, split, memory-mapped.

`data.proteins.protein_records` and `data.molecules.molecule_records` define the drop rules and split keys of each
entity. Windows and masks are here, the same for all.

Shapes: T tokens of a batch, B sequences, n rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.data.core.batches import MaskedBatch
from trimer.data.core.draws import keys, uniform
from trimer.data.core.drops import DropReport
from trimer.data.core.mapped import collected, ranges, row_type
from trimer.data.core.masking import Masking
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey, EpochPlan
from trimer.data.core.shards import Shard, Shards
from trimer.data.core.splits import Split
from trimer.data.core.store import Store, StoreWriter, cache_folder, cached_store
from trimer.data.modules.base import Loading, SplitData, check_split_keys
from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.molecules.molecule_records import MoleculeRecords
from trimer.data.proteins.clusters import check_clusters, read_clusters
from trimer.data.proteins.protein_records import ProteinRecords
from trimer.data.proteins.protein_table import ProteinSource
from trimer.data.proteins.relatives import KMERS
from trimer.data.text.content import content_digest
from trimer.data.text.spelling import Spelling
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.alphabet import Alphabet

log = logging.getLogger(__name__)

CLUSTER = "cluster"
ENTITIES: dict[str, type[Any]] = {
    "proteins": ProteinRecords,
    "molecules": MoleculeRecords,
}
SAMPLING = ("sequences", "clusters")
LARGE = 1_000_000  # rows of a store whose split is cached, because computing it takes about 300 bytes for each
SPLIT_LAYOUT = 1  # increase when splits are computed differently, so that old caches are not read
WINDOW = 1  # separates the random numbers of windows from those of masks
FIXED_SEED = 20_000  # of windows and masks in evaluation, the same in all runs


class MaskedSequences(SplitData):
    """Sequences with masked tokens, which a model predicts from the other tokens.

    entity: "proteins" or "molecules". source: of sequences; molecules are canonicalised and deduplicated. split: a
    column of the source that names the split (`column`, `names`; proteins only), or the `keys` that no two splits may
    share, with fractions. Keys of proteins: cluster and sequence (identical ones; null: both, if known), and kmers,
    groups of relatives by `data.split.kmers`; of molecules: inchikey1 and scaffold. clusters: a text file whose lines
    hold an id, a tab and a cluster; null: the families of the source, if any. sampling: an epoch is all "sequences", or
    one member of each of the "clusters". crop: tokens of a window, without begin and end tokens; null: whole sequences.
    min_length (residues) and max_unknown (fraction of X and unknown letters) are limits of proteins; max_length (tokens
    including begin and end) of molecules; null: no limit. exclude: records to drop because a later study is evaluated
    on them. masking: in training. validation_masking: in validation and test, the same in every epoch and run.
    """

    batch = MaskedBatch
    has_labels = True

    def __init__(
        self,
        entity: str,
        source: ProteinSource | MoleculeSource,
        tokenizer,
        split: Mapping,
        masking: Masking,
        validation_masking: Masking,
        clusters: str | None = None,
        sampling: str = "sequences",
        crop: int | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        max_unknown: float | None = None,
        exclude=None,
        **loading: Unpack[Loading],
    ):
        super().__init__(split, **loading)
        for name, value, known in (("entity", entity, tuple(ENTITIES)), ("sampling", sampling, SAMPLING)):
            if value not in known:
                raise ValueError(f"{name}={value} must be one of {', '.join(known)}")
        if crop is not None and crop < 1:
            raise ValueError(f"crop={crop} must be 1 residue or more, or null for whole sequences")
        all_limits = {"min_length": min_length, "max_length": max_length, "max_unknown": max_unknown}
        limits: dict[str, Any] = {name: value for name, value in all_limits.items() if value is not None}
        if unsupported := [name for name in limits if name not in ENTITIES[entity].limits]:
            supported = ", ".join(ENTITIES[entity].limits)
            setting = f"{unsupported[0]}={limits[unsupported[0]]}"
            raise ValueError(f"{setting}: entity={entity} has no such limit, only {supported}")
        if entity == "molecules":
            limits |= {"cache": self.cache, "workers": self.prepare_workers}
        self.records: ProteinRecords | MoleculeRecords = ENTITIES[entity](source, tokenizer, split, **limits)
        self.kind, self.has_labels = self.records.kind, self.records.has_labels
        named_keys = dict.fromkeys([*self.records.keys, *([CLUSTER] if clusters else [])])
        self.keys = (*named_keys, *([KMERS] if self.records.protein_alphabet else []))
        check_split_keys(split, self.keys)
        self.source = source
        self.tokenizer = tokenizer
        self.clusters = clusters
        self.sampling = sampling
        self.crop = crop
        self.exclude = exclude
        self.masking = masking
        self.validation_masking = validation_masking

    # ---------------------------------------------------------------- preparation

    def _recipe(self) -> dict:
        return {
            "layout": self.records.layout,
            "source": self.source.fingerprint(),
            "tokenizer": self.tokenizer.to_config(),
            "vocabulary": self.tokenizer.vocabulary.digest,
            **self.records.recipe(),
            **({"clusters": content_digest([Path(self.clusters).expanduser()])} if self.clusters else {}),
            "exclude": self.exclude.fingerprint() if self.exclude else None,
        }

    def _write(self, writer: StoreWriter) -> None:
        clusters = read_clusters(self.clusters) if self.clusters else None
        excluded = self.exclude.keys() if self.exclude else frozenset()
        report, spelling = DropReport(), Spelling(self.tokenizer, self.records.plural)
        unclustered: list[str] = []
        for columns in self.records.columns(excluded, report, spelling, self.shards):
            if clusters is not None:
                columns[CLUSTER], has_cluster = clusters.of(columns["id"])
                unclustered += [name for name, known in zip(columns["id"], has_cluster, strict=True) if not known]
            writer.append(columns)
        if not writer.rows:
            raise InputError(f"data: no {self.records.singular} is left for training\n{report}")
        check_clusters(unclustered, writer.rows, self.records.plural, self.clusters or "")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict(), "unspelled": spelling.to_dict()}
        left, read = f"{report.left:,}", f"{report.records:,}"
        log.info("prepared %s: %s of %s %s left", self.folder, left, read, self.records.plural)

    def _write_shard(self, shards: Shards, shard: Shard) -> Store:
        return self.records.write_shard(shards, shard, lambda: self.exclude.keys() if self.exclude else frozenset())

    # ---------------------------------------------------------------- split

    def _assign(self) -> Split:
        if self.sampling == "clusters" and CLUSTER not in self.store.columns:
            raise ConfigError("data.sampling=clusters: the source has no clusters; set data.clusters=<file>")
        return super()._assign() if len(self.store) < LARGE else self._stored_split()[0]

    def _stored_split(self) -> tuple[Split, list[dict]]:
        """The split of a large store and its overlap, computed once and cached: each rank reads one byte a row."""
        by = {name: value for name, value in self.split_by.items() if name != "train_limit"}
        key = {"layout": SPLIT_LAYOUT, "store": self.folder.name, "split": by, "keys": self.records.split_by}

        def build(writer: StoreWriter) -> None:
            split = super(MaskedSequences, self)._assign()
            writer.append({"code": split.codes})
            writer.manifest = {"names": split.names, "split": split.manifest, "overlap": split.overlap(self._keys())}

        stored = cached_store(cache_folder(self.cache, "split", json.loads(json.dumps(key, default=list))), build)
        codes = collected(stored.array_in_parts("code"), np.uint8, self.cache)
        split = Split(codes, tuple(stored.manifest["names"]), stored.manifest["split"])
        return split, stored.manifest["overlap"]

    def _overlap(self) -> list[dict]:
        limited = self.split_by.get("train_limit") is not None
        return super()._overlap() if self.whole or limited or len(self.store) < LARGE else self._stored_split()[1]

    def _keys(self) -> dict[str, np.ndarray]:
        names = self.records.split_by or tuple(self.split_by.get("keys") or self.keys)
        columns = {name: self.store.values(name) for name in names if name in self.store.columns}
        return columns | ({KMERS: self._relatives.groups()} if KMERS in (self.split_by.get("keys") or ()) else {})

    def _grouping(self) -> dict[str, np.ndarray]:
        named = self.split_by.get("keys")
        if not (named or self.records.split_by):
            known = " or ".join(self.records.keys)
            raise ConfigError(f"data.split needs `keys` that no two splits may share: {known}, or both")
        groups = self._keys()
        if missing := [name for name in named or () if name not in groups]:
            raise ConfigError(f"data.split.keys: the source has no {', '.join(missing)}; set data.clusters=<file>")
        return {name: groups[name] for name in named or groups}

    def _holds_proteins(self) -> bool:
        return self.records.protein_alphabet

    def _protein_tokens(self, rows: np.ndarray) -> Ragged:
        return self.store.ragged("tokens").take(rows)

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return self.records.row_keys(self.store, rows)

    def held_out_keys(self) -> frozenset:
        """Digests of the validation and test proteins, or InChIKey block 1 of the molecules."""
        self.setup()
        return self.held_out(self.store.values(self.records.identity))

    # ---------------------------------------------------------------- reports

    def save_reports(self, folder: Path) -> None:
        """Write the split, its overlap, the drop report and the facts to a run folder."""
        super().save_reports(folder)
        (folder / "sequences.json").write_text(json.dumps(self.facts(), indent=1) + "\n", encoding="utf-8")

    def facts(self) -> dict[str, int | float]:
        """Numbers, lengths and duplicates of the prepared sequences."""
        lengths = self.store.ragged("tokens").lengths - 2
        columns = {"ids": "name", "sequences": "sequence", "clusters": CLUSTER}
        distinct = {
            f"distinct_{word}": len(np.unique(self.store.array(column)))
            for word, column in columns.items()
            if column in self.store.columns
        }
        return {
            "sequences": len(lengths),
            "residues" if self.records.protein_alphabet else "tokens": int(lengths.sum()),
            "median_length": float(np.median(lengths)),
            "longest": int(lengths.max()),
            "longer_than_crop": 0 if self.crop is None else int((lengths > self.crop).sum()),
            **distinct,
        }

    # ---------------------------------------------------------------- batches

    def evaluation_batches(self, split: str, tokens_per_batch: int | None = None) -> Iterator[MaskedBatch]:
        """Masked windows of a split, in order, on which all models and baselines are evaluated.

        They are the same for any batch size, epoch and run, since each depends on the id only.
        """
        dataset, lengths, rows = self._evaluation_data(split)
        plan = EpochPlan(lengths, tokens_per_batch or self.tokens_per_batch, rows=rows, shuffle=False)
        return (dataset[key] for key in plan.epoch(0))

    def train_dataloader(self) -> DataLoader:
        rows = collected(self.split.rows_in_parts("train"), row_type(len(self.split)), self.cache)
        lengths = collected((self._lengths(rows[p.start : p.stop]) for p in ranges(len(rows))), np.int32, self.cache)
        dataset = MaskedWindows(self.store, self.tokenizer.alphabet, self.masking, self.crop, self.seed)
        clusters = self.store.array(CLUSTER)[rows] if self.sampling == "clusters" else None
        return self._training(dataset, lengths, rows, clusters)

    def _lengths(self, rows: np.ndarray) -> np.ndarray:
        return window_lengths(self.store.ragged("tokens").lengths_at(rows), self.crop)

    def _evaluation_data(self, split: str) -> tuple[MaskedWindows, np.ndarray, np.ndarray]:
        rows = self.split.rows(split)
        dataset = MaskedWindows(self.store, self.tokenizer.alphabet, self.validation_masking, self.crop, fixed=True)
        return dataset, self._lengths(rows), rows


@dataclass(eq=False)
class MaskedWindows(Dataset):
    """Batches of masked windows of sequences by BatchKey.

    store: columns `tokens` (with begin and end tokens) and `name` (digest of the id). crop: tokens of a window, null
    for whole sequences; a window has begin and end tokens, and all windows of a sequence are equally likely. Window and
    masks of a sequence depend on (seed, epoch, row), or, if `fixed`, on its id only; never on other rows of the batch.
    """

    store: Store
    alphabet: Alphabet
    masking: Masking
    crop: int | None
    seed: int = 0
    fixed: bool = False

    @property
    def masked_share(self) -> float:
        """The largest fraction of the tokens that is masked at any step."""
        return max(self.masking.ratio, self.masking.end_ratio or 0.0)

    def __getitem__(self, key: BatchKey) -> MaskedBatch:
        if self.fixed:
            row_keys, step = keys(FIXED_SEED, self.store.array_at("name", key.rows)), 0
        else:
            row_keys, step = keys(self.seed, key.epoch, key.rows), key.step
        tokens, lengths = self._windows(key.rows, row_keys)
        masked, positions = self.masking(tokens, lengths, row_keys, self.alphabet, step)
        return MaskedBatch.pack(masked, lengths, positions, tokens[positions], key.rows)

    def _windows(self, rows: np.ndarray, row_keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T,) tokens of all windows, concatenated, and their (B,) lengths."""
        column = self.store.ragged("tokens")
        sequences = [column[row] for row in rows.tolist()]
        sizes = np.fromiter(map(len, sequences), np.int64, len(sequences))
        lengths = window_lengths(sizes, self.crop)
        starts = (uniform(keys(row_keys, WINDOW)) * (sizes - lengths + 1)).astype(np.int64)
        stops = (starts + lengths).tolist()
        tokens = np.concatenate(
            [sequence[start:stop] for sequence, start, stop in zip(sequences, starts.tolist(), stops, strict=True)]
        )
        ends = np.cumsum(lengths)
        tokens[ends - lengths], tokens[ends - 1] = self.alphabet.begin, self.alphabet.end
        return tokens, lengths


def window_lengths(lengths: np.ndarray, crop: int | None) -> np.ndarray:
    """(n,) lengths of the windows of sequences, in tokens including begin and end."""
    return lengths if crop is None else np.minimum(lengths, crop + 2)
