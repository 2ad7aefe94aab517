"""Unlabelled spectra and molecules for denoising pre-training (BART), as a LightningDataModule."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Unpack

import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.data.core.batches import PairBatch
from trimer.data.core.drops import DropReport
from trimer.data.core.noise import Corruption
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey
from trimer.data.core.store import Store, StoreWriter
from trimer.data.core.training_keys import text_keys, token_keys
from trimer.data.modules.base import Loading, PreparedData
from trimer.data.molecules.molecule_keys import held_out, keys_of, molecule_table
from trimer.data.spectra.cleaning import clean, warn_of_adducts
from trimer.data.spectra.cleaning.structures import fill_smiles
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError, InputError

log = logging.getLogger(__name__)

LAYOUT = 4  # increase when the columns of the store change, so that old caches are not read
CHUNK = 50_000
VALIDATION_SEED = 20_000  # of the noise of validation rows, the same in all runs


Sequences = tuple[list[str], list[np.ndarray], list[str | None]]  # ids, tokens, InChIKey block 1


@dataclass(eq=False)
class Corrupted(Dataset):
    """Batches of (corrupted sequence, original sequence) by BatchKey.

    The noise is new in every epoch and batch; if `fixed`, it depends on the row only.
    """

    store: Store
    noise: Corruption
    seed: int
    fixed: bool = False

    def __getitem__(self, key: BatchKey) -> PairBatch:
        tokens = self.store.ragged("tokens")
        originals = [tokens[row] for row in key.rows]
        batch_seed = [] if self.fixed else [key.epoch, key.index]
        corrupted = [
            self.noise(sequence, np.random.default_rng([self.seed, *batch_seed, row]))
            for sequence, row in zip(originals, key.rows, strict=True)
        ]
        return PairBatch.pack(corrupted, originals, key.rows)


class DenoisingCorpus(PreparedData):
    """Molecules, spectra, or both, as sequences of the joint vocabulary.

    molecules: a source of SMILES. spectra: name -> source of spectra. cleaning: the steps for spectra; those that need
    a structure are skipped, as spectra need none here. exclude: molecules whose structures and spectra are dropped.
    repeats: corpus (`molecules`, `spectra`) -> times per epoch. validation: fraction of the rows for the validation
    loss.
    """

    kind = "denoising"
    batch = PairBatch
    has_labels = False

    def __init__(
        self,
        tokenizer,
        noise: Corruption,
        validation: float,
        max_length: int,
        molecules=None,
        spectra: Mapping | None = None,
        cleaning: Mapping | None = None,
        exclude=None,
        repeats: Mapping[str, int] | None = None,
        **loading: Unpack[Loading],
    ):
        super().__init__(**loading)
        if not 0 < validation < 1:
            raise ValueError(f"validation={validation} must be a fraction between 0 and 1")
        if molecules is None and not spectra:
            raise ConfigError("data.molecules and data.spectra are both empty: set at least one of them")
        self.tokenizer = tokenizer
        self.molecules = molecules
        self.spectra = dict(spectra or {})
        steps = {name: step for name, step in (cleaning or {}).items() if step is not None}
        self.cleaning = {name: step for name, step in steps.items() if not step.needs_label}
        self.noise = noise
        self.exclude = exclude
        self.repeats = dict(repeats or {})
        self.validation = validation
        self.max_length = max_length

    # ---------------------------------------------------------------- preparation

    def _recipe(self) -> dict:
        return {
            "layout": LAYOUT,
            "molecules": self.molecules.fingerprint() if self.molecules else None,
            "spectra": {name: source.fingerprint() for name, source in self.spectra.items()},
            "tokenizer": self.tokenizer.to_config(),
            "vocabulary": self.tokenizer.vocabulary.digest,
            "cleaning": {name: repr(step) for name, step in self.cleaning.items()},
            "max_length": self.max_length,
            "exclude": self.exclude.fingerprint() if self.exclude else None,
        }

    def _write(self, writer: StoreWriter) -> None:
        excluded = self.exclude.keys() if self.exclude else frozenset()
        report = DropReport()
        for corpus, sequences in (
            ("molecules", self._molecules(excluded, report)),
            ("spectra", self._spectra(excluded, report)),
        ):
            for ids, tokens, keys in sequences:
                lengths = np.array([len(t) for t in tokens], dtype=np.int64)
                too_long = np.flatnonzero(lengths > self.max_length)
                report.add(f"{corpus}: longer than {self.max_length} tokens", [ids[i] for i in too_long])
                rows = np.flatnonzero(lengths <= self.max_length)
                writer.append(
                    {
                        "tokens": Ragged.pack([tokens[i] for i in rows], np.uint16),
                        "corpus": [corpus] * len(rows),
                        "molecule": text_keys([keys[i] for i in rows]),
                    }
                )
        if not writer.rows:
            raise InputError(f"data: no molecule and no spectrum is left for training\n{report}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict()}
        log.info("prepared %s: %s of %s records left", self.folder, f"{report.left:,}", f"{report.records:,}")

    def _molecules(self, excluded: frozenset[str], report: DropReport) -> Iterator[Sequences]:
        if self.molecules is None:
            return
        table = molecule_table(self.molecules, self.cache, workers=self.prepare_workers)
        report.merge(DropReport.from_dict(table.manifest["drops"]))
        for start in range(0, len(table), CHUNK):
            stop = min(start + CHUNK, len(table))
            smiles, keys = (table.texts_between(name, start, stop) for name in ("smiles", "inchikey1"))
            excluded_smiles: list[str] = []
            untokenized: list[str] = []
            kept: list[tuple[str, np.ndarray, str | None]] = []
            for text, key in zip(smiles, keys, strict=True):
                text = text or ""
                if held_out(text, [key], excluded):
                    excluded_smiles.append(text)
                elif (tokens := self.tokenizer.encode_molecule(text)) is None:
                    untokenized.append(text)
                else:
                    kept.append((text, tokens, key))
            report.add("molecules: held out elsewhere", excluded_smiles)
            report.add("molecules: cannot be tokenized", untokenized)
            yield [text for text, _, _ in kept], [ids for _, ids, _ in kept], [key for _, _, key in kept]

    def _spectra(self, excluded: frozenset[str], report: DropReport) -> Iterator[Sequences]:
        if self.spectra:
            warn_of_adducts(self.cleaning.values(), self.tokenizer)
        for source in self.spectra.values():
            for table in source.chunks():
                table, drops = clean(table, self.cleaning)
                report.merge(drops)
                molecules = molecules_of_spectra(table)
                if excluded:
                    unknown, hit = _held_out_spectra(molecules, excluded)
                    report.add("spectra: no structure that says whether it is held out", list(table["id"][unknown]))
                    report.add("spectra: molecule held out elsewhere", list(table["id"][hit]))
                    kept = np.flatnonzero(~unknown & ~hit)
                    table, molecules = table.take(kept), [molecules[row] for row in kept]
                values, offsets = self.tokenizer.encode_spectra(table)
                keys = [of_smiles or stated for _, of_smiles, stated in molecules]
                yield list(table["id"]), [values[start:stop] for start, stop in pairwise(offsets)], keys

    # ---------------------------------------------------------------- loaders

    def rows(self, split: str) -> np.ndarray:
        """Rows of train (repeated like their corpus) or val; there is no test split."""
        if split not in ("train", "val"):
            return np.zeros(0, np.int64)
        in_validation = np.random.default_rng(self.seed).random(len(self.store)) < self.validation
        if split == "val":
            return np.flatnonzero(in_validation)
        corpus = np.array(self.store.strings("corpus"))
        repeats = np.ones(len(corpus), dtype=np.int64)
        for name, times in self.repeats.items():
            repeats[corpus == name] = times
        return np.repeat(np.flatnonzero(~in_validation), repeats[~in_validation])

    def split_rows(self, split: str) -> np.ndarray:
        return np.unique(self.rows(split))

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        tokens, corpus = self.store.ragged("tokens"), np.array(self.store.strings("corpus", rows))
        spectra = np.zeros(len(rows), np.int64)
        is_spectrum = corpus == "spectra"
        spectra[is_spectrum] = token_keys([tokens[row] for row in rows[is_spectrum]])
        return {"molecule": self.store.array("molecule")[rows], "spectrum": spectra}

    def train_dataloader(self) -> DataLoader:
        return self._training(*self._corrupted("train", self.seed))

    def _evaluation_data(self, split: str) -> tuple[Dataset, np.ndarray, np.ndarray]:
        return self._corrupted(split, VALIDATION_SEED, fixed=True)

    def _corrupted(self, split: str, seed: int, fixed: bool = False) -> tuple[Corrupted, np.ndarray, np.ndarray]:
        rows = self.rows(split)
        lengths = np.repeat(self.store.ragged("tokens").lengths[rows, None], 2, axis=1)  # source and target
        return Corrupted(self.store, self.noise, seed, fixed), lengths, rows


def molecules_of_spectra(table: SpectrumTable) -> list[tuple[str | None, str | None, str | None]]:
    """For each spectrum its SMILES, the InChIKey block 1 of the SMILES, and that stated in the file."""
    table = fill_smiles(table)
    distinct = sorted({str(smiles) for smiles in table["smiles"] if smiles})
    of_smiles = {smiles: keys.inchikey1 for smiles, keys in zip(distinct, keys_of(distinct), strict=True)}
    return [
        (smiles, of_smiles.get(smiles), str(key)[:14] if key else None)
        for smiles, key in zip(table["smiles"], table["inchikey"], strict=True)
    ]


def _held_out_spectra(molecules: list[tuple], excluded: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) masks: spectra without a known structure; spectra whose structure or a component of it is excluded."""
    unknown = [not (of_smiles or stated) for _, of_smiles, stated in molecules]
    hits = {triple: held_out(triple[0], triple[1:], excluded) for triple in set(molecules)}
    return np.array(unknown, bool), np.array([hits[triple] for triple in molecules], bool)
