"""Labelled molecules, proteins or peptides as a LightningDataModule: tokenised and split once, memory-mapped.

Shapes: n rows, K labels, R residues.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch.utils.data import DataLoader

from trimer.data.core.batches import LabelledBatch
from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport, explained_by
from trimer.data.core.folds import key_split
from trimer.data.core.label_table import LabelSource
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey, EpochPlan
from trimer.data.core.splits import Split, column_split, ordered_split
from trimer.data.core.store import StoreWriter
from trimer.data.core.training_keys import sequence_keys
from trimer.data.labelled import molecule_features
from trimer.data.labelled.label_checks import (
    check_classes,
    check_columns,
    contradictions,
    warn_of_leaks,
    warn_of_one_class,
)
from trimer.data.labelled.label_counts import counts_of_splits, label_table, labels_of_rows
from trimer.data.labelled.label_duplicates import Duplicates, check_way
from trimer.data.labelled.label_lists import ListedLabels
from trimer.data.labelled.label_numbers import numbered_labels, without_duplicates
from trimer.data.labelled.label_settings import CLUSTER, check_clusters, check_settings
from trimer.data.labelled.label_values import LabelReader
from trimer.data.labelled.labelled_columns import LabelledColumns
from trimer.data.labelled.labelled_rows import LabelledRows, Rewrite
from trimer.data.labelled.sequence_kinds import KINDS, SequenceKind, key_column
from trimer.data.modules.base import LabelledSplitData, Loading, SplitData, check_split_keys
from trimer.data.molecules.random_smiles import RandomSmiles
from trimer.data.proteins.clusters import read_clusters
from trimer.data.proteins.relatives import KMERS, encode_proteins
from trimer.data.text.content import content_digest
from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.peptides.modifications import ELEMENTS
from trimer.peptides.seen_sites import seen_sites

log = logging.getLogger(__name__)

LAYOUT = 2  # increase when the columns of the store change, so that old caches are not read
ROW = "row"  # name of the split key that puts each row into a separate group


class LabelledSequences(LabelledSplitData):
    """Labelled sequences for classification and regression, of whole sequences or residues.

    source: of labelled records. entity: "molecules", "proteins" or "peptides". target: "single", one of several
    classes; "multi", yes or no for each of several labels; "regression", numbers; "residue", a class for each residue
    (`trimer.data.labelled.residue_labels`).
    classes: keep the N most frequent classes, a list of names in this order, or null for all.
    split: a column of the source (`column`, `names`); or `keys` that must not cross splits, with fractions (molecules:
    inchikey1, scaffold; proteins: sequence, or kmers, groups of relatives by `data.split.kmers`; peptides: sequence,
    sequence_il with I and L equal, or proforma with the modifications; all: cluster); or `ordered_by: scaffold`, the
    largest scaffolds first (as in DeepChem). `keys: [row]` splits by rows, and reports how many test rows are in train.
    clusters: a text file whose lines hold an id, a tab and a cluster. cluster_column: a column of the source instead.
    max_length: tokens, including begin and end. too_long: "drop" longer sequences, or keep their "ends" or "start".
    exclude: sequences to drop because a later study is evaluated on them.
    validation: fraction of train to use for validation, if the split has no validation rows.
    random_smiles: fraction of the molecules that become random SMILES in each epoch of training.
    missing, positive, negative, decimal: how the texts of labels are read (`label_values.LabelReader`).
    separator: between several labels in one cell (`label_lists.ListedLabels`).
    duplicates: for a sequence with different labels "keep" all rows, take the "mean" or "majority" of the labels, or
    "drop" it; within each split if a column names the splits.
    features: of molecules, further inputs of the head (`trimer.data.labelled.molecule_features`).
    """

    kind = "labelled"
    batch = LabelledBatch
    labels: np.ndarray | Ragged  # (n,) int64, (n, K) float32 with NaN, or int64 of each residue
    used: np.ndarray  # (n,) bool: rows with a label, without dropped duplicates

    def __init__(
        self,
        source: LabelSource,
        tokenizer,
        entity: str,
        target: str,
        split: Mapping,
        classes: int | Sequence[str] | None = None,
        max_length: int = 512,
        too_long: str = "drop",
        validation: float = 0.1,
        random_smiles: float = 0.0,
        exclude=None,
        clusters: str | None = None,
        cluster_column: str | None = None,
        missing: Sequence[object] = (),
        positive: Sequence[object] = (),
        negative: Sequence[object] = (),
        decimal: str = ".",
        separator: str | None = None,
        duplicates: str = "keep",
        features: Sequence[str] = (),
        **loading: Unpack[Loading],
    ):
        super().__init__(split, **loading)
        check_settings(entity, target, classes, max_length, too_long, validation, random_smiles, features)
        check_way(duplicates, target)
        self.sequences: SequenceKind = KINDS[entity](tokenizer)
        protein_keys = (KMERS,) if entity == "proteins" else ()
        check_split_keys(split, (*self.sequences.keys, *self.sequences.derived, *protein_keys, CLUSTER, ROW))
        check_clusters(split, clusters, cluster_column)
        self.source, self.tokenizer, self.target = source, tokenizer, target
        self.wanted = classes if classes is None or isinstance(classes, int) else [str(name) for name in classes]
        self.classes_from_model = False  # whether the classes come from a trained model, not from these data
        self.exclude = exclude
        self.clusters, self.cluster_column = clusters, cluster_column
        self.max_length, self.too_long = max_length, too_long
        self.validation = validation
        self.missing = [str(text) for text in missing]
        self.reader = LabelReader(target, missing, positive, negative, decimal)
        self.separator, self.duplicates, self.repeated = separator, duplicates, Duplicates()
        self.features = molecule_features.listed(features)
        self.random_smiles = RandomSmiles(tokenizer, random_smiles, max_length, self.seed)
        if random_smiles:
            tokenizer.encode_as_written("C")  # raises an error if the representation does not support it
        self.classes: list[str] = []  # classes ("single", "residue") or names of the labels

    # ---------------------------------------------------------------- preparation

    def _recipe(self) -> dict:
        return {
            "layout": LAYOUT,
            "source": self.source.fingerprint(),
            "sequences": self.sequences.fingerprint(),
            "tokenizer": self.tokenizer.to_config(),
            "vocabulary": self.tokenizer.vocabulary.digest,
            "target": self.target,
            "labels": {**self.reader.settings(), "separator": self.separator},
            "max_length": self.max_length,
            "too_long": self.too_long,
            "split_column": self.split_by.get("column"),
            **({"exclude": self.exclude.fingerprint()} if self.exclude else {}),
            **({"clusters": content_digest([Path(self.clusters).expanduser()])} if self.clusters else {}),
            **({"cluster_column": self.cluster_column} if self.cluster_column else {}),
        }

    def _write(self, writer: StoreWriter) -> None:
        report = DropReport()
        requested = {"split": self.split_by.get("column"), CLUSTER: self.cluster_column}
        columns = {name: column for name, column in requested.items() if column}
        clusters = read_clusters(self.clusters) if self.clusters else None
        names: list[str] = []
        excluded = self.exclude.keys() if self.exclude else frozenset()
        rules = LabelledColumns(self.sequences, self.reader, self.max_length, self.too_long, excluded, columns)
        yes_or_no = self.reader.kind.yes_or_no
        source = ListedLabels(self.source, self.separator, self.reader.missing) if yes_or_no else self.source
        for table in source.chunks(list(dict.fromkeys(columns.values()))):
            names = list(table.labels)
            kept = rules.columns(table, report)
            if clusters is not None:
                kept[CLUSTER] = clusters.names_of(kept["id"], self.clusters or "")
            writer.append(kept)
        unread = self.reader.unread()
        if not writer.rows:
            why = "\n".join([str(report), *self.reader.explained(unread)])
            raise InputError(f"data: no labelled sequence is left\n{why}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict(), "labels": names, "unread": unread}
        writer.manifest["lists"] = getattr(source, "lists", False)
        writer.manifest["shortened"] = rules.shortened
        writer.manifest["unspelled"] = self.sequences.spelling.to_dict()
        compositions = self.sequences.compositions
        if compositions is not None:
            writer.manifest["compositions"] = compositions.tolist()
        log.info("prepared %s: %s of %s records left", self.folder, f"{report.left:,}", f"{report.records:,}")

    # ---------------------------------------------------------------- labels and split

    def setup(self, stage: str | None = None) -> None:
        """Open the store, read the labels as numbers and assign the rows to splits."""
        if not hasattr(self, "split"):
            super(SplitData, self).setup(stage)
            with explained_by(self.drops):
                self._number_labels()
                super().setup(stage)
                self._check_split()
            log.info("%s", label_table(self.target, self.classes, self.labels, self.split))

    def take_classes(self, classes: Sequence[str]) -> None:
        """Use the classes of a trained model, even if some do not occur in these data."""
        self.wanted, self.classes_from_model = list(classes), True

    def _number_labels(self) -> None:
        for sentence in self.reader.explained(self.store.manifest["unread"]):
            log.warning("%s", sentence)
        numbered = numbered_labels(self.store, self.target, self.wanted, self.classes_from_model, self.missing)
        self.classes = numbered[0]
        self.labels, self.used, self.repeated = without_duplicates(
            self.store, numbered, self.target, self.duplicates, bool(self.split_by.get("column"))
        )
        for sentence in self.repeated.sentences(self.sequences.plural, self.duplicates):
            log.warning("%s", sentence)

    def _assign(self) -> Split:
        """Split the used rows; validation rows are taken from train if the split has none."""
        rows = np.flatnonzero(self.used)
        by = self.split_by
        if by.get("column"):
            split = column_split(self.store.strings("split", rows), by.get("names"))
        elif by.get("ordered_by"):
            split = ordered_split(self._column(by["ordered_by"])[rows], by.get("fractions"), by["ordered_by"])
        else:
            split = key_split({name: values[rows] for name, values in self._grouping().items()}, by)
        if "val" not in split.names and "train" in split.names:
            groups = {name: values[rows] for name, values in self._keys().items()}
            split = split.with_validation(groups, self.validation, by.get("seed", 0))
        return split.spread(rows, len(self.used))

    def _usable(self) -> np.ndarray:
        return self.used

    def _column(self, name: str) -> np.ndarray:
        if name == ROW:
            return np.arange(len(self.store))
        if name == KMERS:
            return self._relatives.groups()
        known = (*self.sequences.keys, *self.sequences.derived, CLUSTER)
        if name not in known:
            raise ConfigError(f"data.split.ordered_by={name} must be one of {', '.join(known)}")
        return key_column(self.store, name)

    def _keys(self) -> dict[str, np.ndarray]:
        """The keys whose overlap is reported: identity, clusters, and those of the split."""
        names = [name for name in self.split_by.get("keys") or () if name != ROW]
        clusters = [CLUSTER] if CLUSTER in self.store.columns else []
        return {name: self._column(name) for name in dict.fromkeys([self.sequences.keys[0], *clusters, *names])}

    def _grouping(self) -> dict[str, np.ndarray]:
        if not self.split_by.get("keys"):
            raise ConfigError(
                "data.split needs `column` (names the split), `keys` (must not cross splits) or `ordered_by`"
            )
        return {name: self._column(name) for name in self.split_by["keys"]}

    def _holds_proteins(self) -> bool:
        return self.sequences.plural == "proteins"

    def _protein_tokens(self, rows: np.ndarray) -> Ragged:
        return encode_proteins(self.texts(rows))

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        if self._holds_proteins():
            return sequence_keys("proteins", self.texts(rows))
        return sequence_keys(self.sequences.plural, self.store.strings(self.sequences.keys[0], rows))

    def _check_split(self) -> None:
        """Warn about sequences and relatives shared with train; InputError for labels that train lacks."""
        warn_of_leaks(self.split.overlap(self._keys()), self._related(), self.sequences)
        if self.classes_from_model or self.whole or isinstance(self.labels, Ragged):
            return
        kind = self.reader.kind
        if kind.has_classes:
            check_classes(self.labels, self.split, self.classes, lambda row: self.ids(np.array([row]))[0])
        else:
            check_columns(self.labels[self.split.rows("train")], self.classes, kind.numbers)
        if not kind.numbers:
            warn_of_one_class(self.labels, self.split, self.classes)

    # ---------------------------------------------------------------- public access to rows

    @property
    def predicts_numbers(self) -> bool:
        """Whether the labels are numbers, which can be drawn against the predicted ones."""
        return self.reader.kind.numbers

    def facts(self) -> dict:
        """Labels, their counts in each split, dropped records and contradictory labels, as plain values."""
        counts = counts_of_splits(self.classes, self.labels, self.split)
        facts: dict = {"target": self.target, "classes": self.classes, "parts": counts}
        facts["shortened"] = self.store.manifest["shortened"]
        facts["left_out_by_class"] = int((~self.used).sum()) - self.repeated.removed
        facts["duplicates"] = {"way": self.duplicates, **asdict(self.repeated)}
        facts["unread"] = self.store.manifest["unread"]
        if not (self.reader.kind.numbers or isinstance(self.labels, Ragged)):
            keys = self._column(self.sequences.keys[0])[self.used]
            facts["identical_with_other_labels"] = contradictions(keys, self.labels[self.used])
        return facts

    def training_labels(self) -> torch.Tensor:
        """The labels of train: (n,) classes, (n, K) with NaN for missing, or (R,) classes of residues."""
        labels = labels_of_rows(self.labels, self.split.rows("train"))
        return torch.from_numpy(np.ascontiguousarray(labels))

    def held_out_keys(self) -> frozenset:
        """Keys of validation and test rows: InChIKey block 1, residues of peptides, or digests of protein tokens."""
        self.setup()
        if not self._holds_proteins():
            return self.held_out(self._column(self.sequences.keys[0]))
        texts = self.held_out(np.array(self.store.strings("text"), dtype=object))
        return frozenset(digests(self.tokenizer.encode(text).tobytes() for text in texts).tolist())

    def training_facts(self) -> dict:
        peptides = self.sequences.plural == "peptides"
        return {"sites": seen_sites(self.texts(self.split.rows("train")))} if peptides else {}

    def evaluation_batches(self, split: str, rewrite: Rewrite | None = None):
        """Batches of the rows of a split, in order. rewrite: gives other tokens of each molecule."""
        dataset, lengths, rows = self._evaluation_data(split)
        dataset.rewrite = rewrite
        plan = EpochPlan(lengths, self.tokens_per_batch, rows=rows, shuffle=False)
        return (dataset[key] for key in plan.epoch(0))

    # ---------------------------------------------------------------- loaders

    def _rows(self, rewrite: Rewrite | None = None) -> LabelledRows:
        compositions = self.store.manifest.get("compositions")
        if compositions is not None:
            compositions = np.array(compositions, np.float32).reshape(len(compositions), len(ELEMENTS))
        return LabelledRows(self.store, self.labels, rewrite, compositions, self.features)

    def sequences_of(self, rows: np.ndarray) -> Flat:
        """The sequences of the given rows, concatenated."""
        return self._rows()[BatchKey(0, 0, np.asarray(rows))].sequence

    def train_dataloader(self) -> DataLoader:
        rows = self.split.rows("train")
        rewrite = self.random_smiles if self.random_smiles.share else None
        return self._training(self._rows(rewrite), self._lengths(rows), rows)

    def _evaluation_data(self, split: str) -> tuple[LabelledRows, np.ndarray, np.ndarray]:
        rows = self.split.rows(split)
        return self._rows(), self._lengths(rows), rows
