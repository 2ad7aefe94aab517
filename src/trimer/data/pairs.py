"""Spectra with their molecules as a LightningDataModule: cleaned, split and tokenised once, then memory-mapped."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.data.batches import PairBatch
from trimer.data.cleaning import clean
from trimer.data.drops import DropReport
from trimer.data.loaders import check_loading, evaluation_loader, training_loader
from trimer.data.noise import Corruption
from trimer.data.sampler import BatchKey
from trimer.data.spectra import SpectrumTable
from trimer.data.splits import Split, column_split, grouped_split
from trimer.data.store import Ragged, Store, StoreWriter, cache_folder, cached_store
from trimer.errors import ConfigError, InputError

log = logging.getLogger(__name__)

LABELS = ("id", "smiles", "inchikey1", "scaffold", "formula", "adduct", "instrument_type", "collision_energy")
LAYOUT = 1  # raise it when the columns of the store change, so that old caches are not read


class Pairs(Dataset):
    """Batches of (spectrum, molecule) by BatchKey; source noise is seeded by (seed, epoch, row)."""

    def __init__(self, store: Store, seed: int = 0, noise: Corruption | None = None):
        self.store = store
        self.seed = seed
        self.noise = noise

    def __getitem__(self, key: BatchKey) -> PairBatch:
        sources, targets = self.store.ragged("source"), self.store.ragged("target")
        read = [sources[row] for row in key.rows]
        if self.noise is not None:
            read = [
                self.noise(tokens, np.random.default_rng([self.seed, key.epoch, row]))
                for tokens, row in zip(read, key.rows, strict=True)
            ]
        return PairBatch.pack(read, [targets[row] for row in key.rows], key.rows)


class SpectraToMolecules(L.LightningDataModule):
    """Tandem mass spectra to read, molecules to write.

    source: where the spectra come from. tokenizer: how spectra and molecules become ids. cleaning: the named steps, in
    order. split: a column of the source that names the fold (`column`), or the keys that must not cross folds (`keys`,
    joined by union-find) with fractions. exclude: molecules that must not be in here (their number is in the drop
    report). noise: corruption of the spectrum during training, as augmentation. tokens_per_batch counts source and
    target tokens. max_target: longest molecule in tokens.
    """

    batch = PairBatch
    has_labels = True  # there are molecules to compare with, so the test split can be measured

    def __init__(
        self,
        source,
        tokenizer,
        cleaning: Mapping,
        split: Mapping,
        cache: str,
        tokens_per_batch: int = 8192,
        max_target: int = 128,
        exclude=None,
        noise: Corruption | None = None,
        shuffle: bool = True,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        check_loading(tokens_per_batch, num_workers, seed)
        if max_target < 1:
            raise ValueError(f"max_target={max_target} must be 1 or more")
        if unknown := set(split.get("keys") or ()) - set(LABELS):
            raise ValueError(f"split.keys: {', '.join(sorted(unknown))} is none of {', '.join(LABELS)}")
        self.source = source
        self.tokenizer = tokenizer
        self.cleaning = {name: step for name, step in cleaning.items() if step is not None}
        self.split_by = dict(split)
        self.cache = Path(cache).expanduser()
        self.tokens_per_batch = tokens_per_batch
        self.max_target = max_target
        self.exclude = exclude
        self.noise = noise
        self.shuffle = shuffle
        self.num_workers = num_workers
        self.seed = seed
        self.store: Store | None = None
        self.split: Split | None = None

    # ---------------------------------------------------------------- preparation

    @property
    def folder(self) -> Path:
        """Where the prepared columns lie: named by the content of the source and every setting that shapes them."""
        return cache_folder(self.cache, "pairs", self._recipe())

    def _recipe(self) -> dict:
        return {
            "layout": LAYOUT,
            "source": self.source.fingerprint(),
            "tokenizer": self.tokenizer.to_config(),
            "vocabulary": self.tokenizer.vocabulary.digest,
            "cleaning": {name: repr(step) for name, step in self.cleaning.items()},
            "max_target": self.max_target,
            "exclude": self.exclude.fingerprint() if self.exclude else None,
            "split_column": self.split_by.get("column"),
        }

    def prepare_data(self) -> None:
        """Clean and tokenise the source into the store, unless that was done before."""
        cached_store(self.folder, self._write)

    def _write(self, writer: StoreWriter) -> None:
        excluded = self.exclude.keys() if self.exclude else frozenset()
        report = DropReport()
        for table in self.source.chunks():
            writer.append(self._columns(table, excluded, report))
        if not writer.rows:
            raise InputError(f"data: no spectrum with a molecule is left to train on\n{report}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict()}
        log.info("prepared %s: %s of %s records left", self.folder, f"{report.left:,}", f"{report.records:,}")

    def _columns(self, table: SpectrumTable, excluded: frozenset[str], report: DropReport) -> dict:
        """The columns of the records that pass every rule; what does not is counted in the report."""
        table, drops = clean(table, self.cleaning)
        report.merge(drops)
        if excluded:
            hit = np.isin(table["inchikey1"].astype(str), list(excluded))
            report.add("molecule held out elsewhere", list(table["id"][hit]))
            table = table.take(~hit)
        unique, inverse = np.unique(table["smiles"].astype(str), return_inverse=True)
        encoded = [self.tokenizer.encode_molecule(smiles) for smiles in unique]
        lengths = np.array([0 if ids is None else len(ids) for ids in encoded], dtype=np.int64)[inverse]
        for rule, hit in (
            ("molecule cannot be written", lengths == 0),
            (f"molecule longer than {self.max_target} tokens", lengths > self.max_target),
        ):
            report.add(rule, list(table["id"][hit]))
        fits = np.flatnonzero((lengths > 0) & (lengths <= self.max_target))
        table = table.take(fits)
        column = self.split_by.get("column")
        if column and column not in table.columns:
            known = ", ".join(sorted(table.columns))
            raise InputError(f"data.split.column={column}: the source has no such column; it has {known}")
        sources = self.tokenizer.encode_spectra(table)
        return {
            "source": Ragged(sources[0].astype(np.uint16), sources[1]),
            "target": Ragged.pack([encoded[inverse[row]] for row in fits], np.uint16),
            "mz": Ragged(table.mz, table.offsets),
            "intensity": Ragged(table.intensity, table.offsets),
            "precursor_mz": table["precursor_mz"],
            **{name: list(table[name]) for name in LABELS},
            **({"split": list(table[column])} if column else {}),
        }

    def setup(self, stage: str | None = None) -> None:
        """Open the store and assign its rows to train, val and test; the same settings give the same rows."""
        if self.store is not None:
            return
        self.store = cached_store(self.folder, self._write)
        self.split = self._assign(self.store)
        log.info("%s", self.split.overlap_report(self._keys()))

    def _assign(self, store: Store) -> Split:
        if self.split_by.get("column"):
            return column_split(np.array(store.strings("split"), dtype=object), self.split_by.get("names"))
        if not self.split_by.get("keys"):
            raise ConfigError("data.split needs `column` (it names the fold) or `keys` (what must not cross folds)")
        return grouped_split(self._keys(), self.split_by.get("fractions"), seed=self.split_by.get("seed", 0))

    # ---------------------------------------------------------------- what others read

    @property
    def drops(self) -> DropReport:
        return DropReport.from_dict(self.store.manifest["drops"])

    def save_reports(self, folder: Path) -> None:
        """Leave the split, its overlap and the drop report in a run folder."""
        self.split.save(folder / "split.npz")
        overlap = {"manifest": self.split.manifest, "overlap": self.split.overlap(self._keys())}
        (folder / "split_overlap.json").write_text(json.dumps(overlap, indent=1) + "\n", encoding="utf-8")
        self.drops.save(folder / "drops.json")

    def _keys(self) -> dict[str, np.ndarray]:
        names = self.split_by.get("keys") or ["inchikey1"]
        return {name: np.array(self.store.strings(name), dtype=object) for name in names}

    def held_out_keys(self) -> frozenset[str]:
        """InChIKey block 1 of the validation and test molecules, for a pre-training corpus to leave out."""
        self.setup()
        keys = np.array(self.store.strings("inchikey1"), dtype=object)
        return frozenset(keys[np.concatenate([self.split.rows("val"), self.split.rows("test")])])

    def table(self, rows: np.ndarray) -> SpectrumTable:
        """The cleaned spectra of some rows, with their labels."""
        mz, intensity = self.store.ragged("mz").take(rows), self.store.ragged("intensity").take(rows)
        columns = {name: np.array(self.store.strings(name), dtype=object)[rows] for name in (*LABELS,)}
        columns["precursor_mz"] = self.store.array("precursor_mz")[rows]
        return SpectrumTable.build(mz.values, intensity.values, mz.offsets, columns)

    # ---------------------------------------------------------------- loaders

    def _lengths(self) -> np.ndarray:
        return self.store.ragged("source").lengths + self.store.ragged("target").lengths

    def train_dataloader(self) -> DataLoader:
        rows = self.split.rows("train")
        return training_loader(
            Pairs(self.store, self.seed, self.noise),
            self._lengths()[rows],
            rows,
            self.tokens_per_batch,
            trainer=self.trainer,
            seed=self.seed,
            num_workers=self.num_workers,
            shuffle=self.shuffle,
        )

    def val_dataloader(self) -> DataLoader:
        rows = self.split.rows("val")
        return evaluation_loader(
            Pairs(self.store),
            self._lengths()[rows],
            rows,
            self.tokens_per_batch,
            trainer=self.trainer,
            num_workers=self.num_workers,
        )
