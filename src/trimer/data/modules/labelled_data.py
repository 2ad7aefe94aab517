"""Molecules and proteins with labels as a LightningDataModule: tokenised and split once, memory-mapped.

Shapes: n rows, B rows of a batch, C classes, K labels, R residues.
"""

from __future__ import annotations

import json
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
from trimer.data.core.drops import DropReport
from trimer.data.core.label_table import LabelSource
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey, EpochPlan
from trimer.data.core.splits import Split, column_split, grouped_split, ordered_split
from trimer.data.core.store import StoreWriter
from trimer.data.core.training_keys import sequence_keys
from trimer.data.labelled.label_checks import (
    check_classes,
    check_columns,
    contradictions,
    warn_of_leaks,
    warn_of_one_class,
)
from trimer.data.labelled.label_counts import counts_of_splits, label_table
from trimer.data.labelled.label_duplicates import Duplicates, check_way
from trimer.data.labelled.label_lists import ListedLabels
from trimer.data.labelled.label_numbers import numbered_labels, without_duplicates
from trimer.data.labelled.label_settings import CLUSTER, check_clusters, check_settings
from trimer.data.labelled.label_values import LabelReader
from trimer.data.labelled.labelled_columns import LabelledColumns
from trimer.data.labelled.labelled_rows import LabelledRows
from trimer.data.labelled.sequence_kinds import KINDS, SequenceKind, key_column
from trimer.data.modules.base import Loading, SplitData, check_split_keys
from trimer.data.molecules.random_smiles import RandomSmiles
from trimer.data.proteins.clusters import read_clusters
from trimer.data.proteins.relatives import KMERS, encode_proteins
from trimer.data.text.content import content_digest
from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.peptides.modifications import ELEMENTS
from trimer.peptides.seen import seen_sites

log = logging.getLogger(__name__)

LAYOUT = 2  # raise it when the columns of the store change, so that old caches are not read
ROW = "row"  # the key of a split that knows no groups


class LabelledSequences(SplitData):
    """Sequences of which something is known, to be predicted for others.

    source: where they come from. entity: "molecules", "proteins" or "peptides". target: what a label is: "single", one
    of several classes; "multi", yes or no for each of several labels; "regression", numbers; "residue", a class for
    each residue (`trimer.data.labelled.residue_labels`).
    classes: of a single label, how many of the most frequent ones are kept, or which, in this order; null keeps all.
    split: a column of the source (`column`, `names`); or the `keys` that must not cross parts (molecules: inchikey1,
    scaffold; proteins: sequence, or kmers, groups of relatives by `data.kmers`; peptides: sequence, sequence_il where I
    and L are the same, or proforma with the modifications; all: cluster) with fractions; or `ordered_by: scaffold`, the
    largest scaffolds first (DeepChem's); `keys: [row]` splits rows, and says how much of the test part is in train.
    clusters: a text file with an id, a tab and its cluster a line; cluster_column: a column of the source instead.
    max_length: tokens, the frame included. too_long: "drop" leaves longer ones out and counts them; "ends" and "start"
    keep that part of them.
    exclude: sequences that must not be in here, since a later study is judged on them.
    validation: the share of the train part that is put aside where the split has no part for validation.
    random_smiles: the share of the molecules written from another atom in each epoch of the training.
    missing, positive, negative, decimal: how the texts of labels are read (`label_values.LabelReader`).
    separator: of several labels in one cell (`label_lists.ListedLabels`). duplicates: what becomes of a
    sequence that occurs more than once with different labels: "keep", "mean" of its numbers, its "majority", or "drop";
    within a split where a column names the splits.
    """

    kind = "labelled"
    batch = LabelledBatch
    has_labels = True

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
        **loading: Unpack[Loading],
    ):
        super().__init__(split, **loading)
        check_settings(entity, target, classes, max_length, too_long, validation, random_smiles)
        check_way(duplicates, target)
        self.sequences: SequenceKind = KINDS[entity](tokenizer)
        of_proteins = (KMERS,) if entity == "proteins" else ()
        check_split_keys(split, (*self.sequences.keys, *self.sequences.derived, *of_proteins, CLUSTER, ROW))
        check_clusters(split, clusters, cluster_column)
        self.source = source
        self.tokenizer = tokenizer
        self.target = target
        self.wanted = classes if classes is None or isinstance(classes, int) else [str(name) for name in classes]
        self.learnt = False  # whether the classes are those of a model, and not of these data
        self.exclude = exclude
        self.clusters, self.cluster_column = clusters, cluster_column
        self.max_length = max_length
        self.too_long = too_long
        self.validation = validation
        self.missing = [str(text) for text in missing]
        self.reader = LabelReader(target, missing, positive, negative, decimal)
        self.separator, self.duplicates = separator, duplicates
        self.repeated = Duplicates()
        self.random_smiles = RandomSmiles(tokenizer, random_smiles, max_length, self.seed)
        if random_smiles:
            tokenizer.encode_as_written("C")  # says it where the representation has no such order
        self.classes: list[str] = []  # of a single label or of residues; else the names of the labels
        self.labels: np.ndarray | Ragged | None = None  # (n,) int64, (n, K) float32 with NaN, or classes of residues

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
        wanted = {"split": self.split_by.get("column"), CLUSTER: self.cluster_column}
        columns = {name: column for name, column in wanted.items() if column}
        clusters = read_clusters(self.clusters) if self.clusters else None
        names: list[str] = []
        excluded = self.exclude.keys() if self.exclude else frozenset()
        rules = LabelledColumns(self.sequences, self.reader, self.max_length, self.too_long, excluded, columns)
        source = self.source
        if self.target == "multi":
            source = ListedLabels(source, self.separator, self.reader.missing)
        for table in source.chunks(list(dict.fromkeys(columns.values()))):
            names = list(table.labels)
            kept = rules.columns(table, report)
            if clusters is not None:
                kept[CLUSTER] = clusters.names_of(kept["id"], self.clusters)
            writer.append(kept)
        unread = self.reader.unread()
        if not writer.rows:
            why = "\n".join([str(report), *self.reader.explained(unread)])
            raise InputError(f"data: no labelled sequence is left\n{why}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict(), "labels": names, "unread": unread}
        writer.manifest["lists"] = getattr(source, "lists", False)
        writer.manifest["shortened"] = rules.shortened
        writer.manifest["unspelled"] = self.sequences.spelling.to_dict()
        if self.sequences.plural == "peptides":
            writer.manifest["compositions"] = self.sequences.compositions.tolist()
        log.info("prepared %s: %s of %s records left", self.folder, f"{report.left:,}", f"{report.records:,}")

    # ---------------------------------------------------------------- labels and split

    def setup(self, stage: str | None = None) -> None:
        """Open the store, number the labels and assign the rows."""
        if self.split is None:
            super(SplitData, self).setup(stage)
            self._number_labels()
            super().setup(stage)
            self._check_split()
            log.info("%s", label_table(self.target, self.classes, self.labels, self.split))

    def take_classes(self, learnt: Sequence[str]) -> None:
        """Number the labels as a model has learnt them, whether all of them occur in these data or not."""
        self.wanted, self.learnt = list(learnt), True

    def _number_labels(self) -> None:
        for sentence in self.reader.explained(self.store.manifest["unread"]):
            log.warning("%s", sentence)
        numbered = numbered_labels(self.store, self.target, self.wanted, self.learnt, self.missing)
        self.classes = numbered[0]
        self.labels, self.used, self.repeated = without_duplicates(
            self.store, numbered, self.target, self.duplicates, bool(self.split_by.get("column"))
        )
        for sentence in self.repeated.sentences(self.sequences.plural, self.duplicates):
            log.warning("%s", sentence)

    def _assign(self) -> Split:
        """Rows whose class is not kept belong to no part; validation rows are taken from train if there are none."""
        rows = np.flatnonzero(self.used)
        by = self.split_by
        if by.get("column"):
            values = np.array(self.store.strings("split"), dtype=object)[rows]
            split = column_split(values, by.get("names"))
        elif by.get("ordered_by"):
            split = ordered_split(self._column(by["ordered_by"])[rows], by.get("fractions"), by["ordered_by"])
        else:
            keys = {name: values[rows] for name, values in self._grouping().items()}
            split = grouped_split(keys, by.get("fractions"), seed=by.get("seed", 0))
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
            raise ConfigError(f"data.split.ordered_by={name} is none of {', '.join(known)}")
        return key_column(self.store, name)

    def _keys(self) -> dict[str, np.ndarray]:
        """What may be in two parts only where the split is told so: identity first."""
        names = [name for name in self.split_by.get("keys") or () if name != ROW]
        clusters = [CLUSTER] if CLUSTER in self.store.columns else []
        return {name: self._column(name) for name in dict.fromkeys([self.sequences.keys[0], *clusters, *names])}

    def _grouping(self) -> dict[str, np.ndarray]:
        if not self.split_by.get("keys"):
            raise ConfigError(
                "data.split needs `column` (it names the part), `keys` (what must not cross parts) or `ordered_by`"
            )
        return {name: self._column(name) for name in self.split_by["keys"]}

    def _protein_tokens(self, rows: np.ndarray) -> Ragged | None:
        return encode_proteins(self.texts(rows)) if self.sequences.plural == "proteins" else None

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        if self.sequences.plural == "proteins":
            return sequence_keys("proteins", self.texts(rows))
        return sequence_keys(self.sequences.plural, self.store.strings(self.sequences.keys[0], rows))

    def _check_split(self) -> None:
        """Warn where the same sequence, or a relative, is in train and in another part; refuse labels train has not."""
        warn_of_leaks(self.split.overlap(self._keys()), self._related(), self.sequences)
        if self.learnt or self.whole:
            return
        if self.target == "single":
            check_classes(self.labels, self.split, self.classes, lambda row: self.ids([row])[0])
        elif self.target != "residue":
            check_columns(self.labels[self.split.rows("train")], self.classes, self.target == "regression")
        if self.target in ("single", "multi"):
            warn_of_one_class(self.labels, self.split, self.classes)

    # ---------------------------------------------------------------- what others read

    def save_reports(self, folder: Path) -> None:
        """Leave the split, its overlap, the drop report and the labels in a run folder."""
        super().save_reports(folder)
        (folder / "labels.json").write_text(json.dumps(self.facts(), indent=1) + "\n", encoding="utf-8")

    def facts(self) -> dict:
        """The labels, how often each part has them, and what contradicts itself."""
        parts = counts_of_splits(self.target, self.classes, self.labels, self.split)
        facts: dict = {"target": self.target, "classes": self.classes, "parts": parts}
        facts["shortened"] = self.store.manifest["shortened"]
        facts["left_out_by_class"] = int((~self.used).sum()) - self.repeated.removed
        facts["duplicates"] = {"way": self.duplicates, **asdict(self.repeated)}
        facts["unread"] = self.store.manifest["unread"]
        if self.target in ("single", "multi"):
            keys = self._column(self.sequences.keys[0])[self.used]
            facts["identical_with_other_labels"] = contradictions(keys, self.labels[self.used])
        return facts

    def training_labels(self) -> torch.Tensor:
        """The labels of the train part: (n,) classes, (n, K) with NaN, or (R,) classes of residues."""
        rows = self.split.rows("train")
        labels = self.labels.take(rows).values if isinstance(self.labels, Ragged) else self.labels[rows]
        return torch.from_numpy(np.ascontiguousarray(labels))

    def held_out_keys(self) -> frozenset:
        """What a corpus knows the validation and test rows by: InChIKey block 1, letters, or digests of all tokens."""
        self.setup()
        if self.sequences.plural != "proteins":
            return self.held_out(self._column(self.sequences.keys[0]))
        rows = np.concatenate([self.split.rows("val"), self.split.rows("test")])
        return frozenset(digests(self.tokenizer.encode(text).tobytes() for text in self.texts(rows)).tolist())

    def texts(self, rows: np.ndarray) -> list[str]:
        """SMILES or residues of some rows."""
        return self.store.strings("text", rows)

    def training_facts(self) -> dict:
        peptides = self.sequences.plural == "peptides"
        return {"sites": seen_sites(self.texts(self.split.rows("train")))} if peptides else {}

    def ids(self, rows: np.ndarray) -> list[str]:
        return self.store.strings("id", rows)

    def evaluation_batches(self, split: str):
        """The rows of a split in order, by batch."""
        rows = self.split.rows(split)
        dataset = self._rows()
        plan = EpochPlan(self._lengths(rows), self.tokens_per_batch, rows=rows, shuffle=False)
        return (dataset[key] for key in plan.epoch(0))

    # ---------------------------------------------------------------- loaders

    def _rows(self, rewrite: RandomSmiles | None = None) -> LabelledRows:
        compositions = self.store.manifest.get("compositions")
        if compositions is not None:
            compositions = np.array(compositions, np.float32).reshape(len(compositions), len(ELEMENTS))
        return LabelledRows(self.store, self.labels, rewrite, compositions)

    def sequences_of(self, rows: np.ndarray) -> Flat:
        """Some rows, end to end."""
        return self._rows()[BatchKey(0, 0, np.asarray(rows))].sequence

    def _lengths(self, rows: np.ndarray) -> np.ndarray:
        return self.store.ragged("tokens").lengths[rows]

    def train_dataloader(self) -> DataLoader:
        rows = self.split.rows("train")
        rewrite = self.random_smiles if self.random_smiles.share else None
        return self._training(self._rows(rewrite), self._lengths(rows), rows)

    def _evaluation_part(self, split: str) -> tuple[LabelledRows, np.ndarray, np.ndarray]:
        rows = self.split.rows(split)
        return self._rows(), self._lengths(rows), rows
