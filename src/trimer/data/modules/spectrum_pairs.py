"""Spectra with their molecules as a LightningDataModule: cleaned, split and tokenised once, then memory-mapped."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.data.core.batches import PairBatch
from trimer.data.core.drops import DropReport
from trimer.data.core.noise import Corruption
from trimer.data.core.parallel import for_each
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey
from trimer.data.core.store import Store, StoreWriter
from trimer.data.core.training_keys import text_keys, token_keys
from trimer.data.modules.base import Loading, SplitData, check_split_keys
from trimer.data.spectra.cleaning import clean, warn_of_adducts
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError, InputError
from trimer.training_facts import adduct_name

log = logging.getLogger(__name__)

LABELS = ("id", "smiles", "inchikey1", "scaffold", "formula", "adduct", "instrument_type", "collision_energy")
LAYOUT = 2  # increase when columns, reading or cleaning change, so that old caches are not read


@dataclass(eq=False)
class Pairs(Dataset):
    """Batches of (spectrum, molecule) by BatchKey; noise on the spectrum depends on (seed, epoch, row)."""

    store: Store
    seed: int = 0
    noise: Corruption | None = None

    def __getitem__(self, key: BatchKey) -> PairBatch:
        sources, targets = self.store.ragged("source"), self.store.ragged("target")
        spectra = [sources[row] for row in key.rows]
        if self.noise is not None:
            spectra = [
                self.noise(tokens, np.random.default_rng([self.seed, key.epoch, row]))
                for tokens, row in zip(spectra, key.rows, strict=True)
            ]
        return PairBatch.pack(spectra, [targets[row] for row in key.rows], key.rows)


class SpectraToMolecules(SplitData):
    """Tandem mass spectra as input and molecules as target.

    source: of spectra with molecules. tokenizer: of spectra and molecules. cleaning: name -> step, in order. split: a
    column of the source that names the split (`column`), or `keys` that must not cross splits, with fractions; rows are
    grouped by union-find. exclude: molecules to drop, counted in the drop report. noise: corruption of the spectrum in
    training, as augmentation. tokens_per_batch counts source and target tokens. max_target: longest molecule in tokens.
    """

    kind = "pairs"
    batch = PairBatch
    has_labels = True  # the molecules are known, so the test split can be evaluated

    def __init__(
        self,
        source,
        tokenizer,
        cleaning: Mapping,
        split: Mapping,
        max_target: int,
        exclude=None,
        noise: Corruption | None = None,
        **loading: Unpack[Loading],
    ):
        super().__init__(split, **loading)
        if max_target < 1:
            raise ValueError(f"max_target={max_target} must be 1 or more")
        check_split_keys(split, LABELS)
        self.source = source
        self.tokenizer = tokenizer
        self.cleaning = {name: step for name, step in cleaning.items() if step is not None}
        self.max_target = max_target
        self.exclude = exclude
        self.noise = noise

    # ---------------------------------------------------------------- preparation

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

    def _write(self, writer: StoreWriter) -> None:
        warn_of_adducts(self.cleaning.values(), self.tokenizer)
        excluded = self.exclude.keys() if self.exclude else frozenset()
        report = DropReport()
        for table in self.source.chunks():
            writer.append(self._columns(table, excluded, report))
        if not writer.rows:
            raise InputError(f"data: no spectrum with a molecule is left for training\n{report}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict()}
        log.info("prepared %s: %s of %s records left", self.folder, f"{report.left:,}", f"{report.records:,}")

    def _columns(self, table: SpectrumTable, excluded: frozenset[str], report: DropReport) -> dict:
        """The columns of the records that pass every rule; the report counts the dropped ones."""
        table, drops = clean(table, self.cleaning)
        report.merge(drops)
        if excluded:
            is_excluded = np.isin(table["inchikey1"].astype(str), list(excluded))
            report.add("molecule held out elsewhere", list(table["id"][is_excluded]))
            table = table.take(~is_excluded)
        unique, inverse = np.unique(table["smiles"].astype(str), return_inverse=True)
        encoded = for_each(self.tokenizer.encode_molecule, unique.tolist())
        lengths = np.array([0 if ids is None else len(ids) for ids in encoded], dtype=np.int64)[inverse]
        for rule, breaks in (
            ("molecule cannot be tokenized", lengths == 0),
            (f"molecule longer than {self.max_target} tokens", lengths > self.max_target),
        ):
            report.add(rule, list(table["id"][breaks]))
        fits = np.flatnonzero((lengths > 0) & (lengths <= self.max_target))
        table = table.take(fits)
        column = self.split_by.get("column")
        if column and column not in table.columns:
            known = ", ".join(sorted(table.columns))
            raise InputError(f"data.split.column={column}: the source has no such column; choose from {known}")
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

    # ---------------------------------------------------------------- public access to rows

    def _keys(self) -> dict[str, np.ndarray]:
        names = self.split_by.get("keys") or ["inchikey1"]
        return {name: np.array(self.store.strings(name), dtype=object) for name in names}

    def _grouping(self) -> dict[str, np.ndarray]:
        if not self.split_by.get("keys"):
            raise ConfigError(
                "data.split needs `column` (which names the split) or `keys` (which must not cross splits)"
            )
        return self._keys()

    def held_out_keys(self) -> frozenset[str]:
        """InChIKey block 1 of the validation and test molecules."""
        self.setup()
        return self.held_out(np.array(self.store.strings("inchikey1"), dtype=object))

    def training_facts(self) -> dict:
        """Whether the spectra are simulated, and the number of training spectra by adduct."""
        adducts = np.array(self.store.strings("adduct"), dtype=object)[self.split.rows("train")]
        counts = Counter(map(adduct_name, adducts))
        return {"simulated": getattr(self.source, "simulated", False), "adducts": dict(counts)}

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        sources = self.store.ragged("source")
        return {
            "molecule": text_keys(self.store.strings("inchikey1", rows)),
            "spectrum": token_keys([sources[row] for row in rows]),
        }

    def table(self, rows: np.ndarray) -> SpectrumTable:
        """The cleaned spectra of the given rows, with their labels."""
        mz, intensity = self.store.ragged("mz").take(rows), self.store.ragged("intensity").take(rows)
        columns = {name: np.array(self.store.strings(name), dtype=object)[rows] for name in (*LABELS,)}
        columns["precursor_mz"] = self.store.array("precursor_mz")[rows]
        return SpectrumTable.build(mz.values, intensity.values, mz.offsets, columns)

    # ---------------------------------------------------------------- loaders

    def _lengths(self) -> np.ndarray:
        """(n, 2) tokens of spectrum and molecule."""
        return np.stack([self.store.ragged("source").lengths, self.store.ragged("target").lengths], 1)

    def train_dataloader(self) -> DataLoader:
        rows = self.split.rows("train")
        return self._training(Pairs(self.store, self.seed, self.noise), self._lengths()[rows], rows)

    def _evaluation_data(self, split: str) -> tuple[Dataset, np.ndarray, np.ndarray]:
        rows = self.split.rows(split)
        return Pairs(self.store), self._lengths()[rows], rows
