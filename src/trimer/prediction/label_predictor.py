"""Labels for molecules, proteins, peptides and residues.

The columns of the table: row, id, sequence as in the input; then
- one class of several: label, its probability, the probability of each class;
- yes-or-no labels: predicted (yes or no) and probability of each;
- numbers: a column for each;
- classes of residues: labels as one text, the probability of each, for each class the probabilities of all residues;
- unseen (peptides): residues and modifications that were not in the training data;
- in_training: whether the sequence was in the training data; reason: why there is no prediction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.data.core.label_table import LabelTable
from trimer.data.core.training_keys import sequence_keys
from trimer.data.labelled.residue_labels import joined_labels
from trimer.data.labelled.sequence_files import read_as, sequence_chunks
from trimer.data.labelled.sequence_kinds import KINDS, ModelInput, flat, model_inputs, shortened
from trimer.evaluation.training_overlap import training_overlap
from trimer.metrics.decisions import decide_classes, decide_labels
from trimer.prediction.prediction_tables import PredictionFile
from trimer.prediction.predictor import Predictor, Records
from trimer.training_facts import unseen_of_peptides

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

DIGITS = 5  # decimals of the probabilities of residues
HEADS = ("row", "id", "sequence", "in_training", "reason")  # columns of every table of labels


class LabelPredictor(Predictor):
    """The labels of each sequence. `names`: the columns that hold them."""

    plural = "sequences"

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        super().__init__(loaded, cfg)
        labels, self.data = loaded.contract["labels"], loaded.contract["data"]
        self.target, self.classes, self.entity = labels["target"], labels["classes"], self.data["entity"]
        self.kind = KINDS[self.entity](loaded.tokenizer)
        self.names = label_columns(self.target, self.classes)
        unseen = ("unseen",) if self.kind.has_modifications else ()
        self.columns = [*HEADS[:3], *self.names, *unseen, *HEADS[3:]]

    def writer(self, output: str | Path) -> PredictionFile:
        return PredictionFile(output, self.columns, self.plural)

    def read(self, path: Path) -> Iterator[Records]:
        cfg, first, usable = self.cfg, 0, 0
        options = read_as(cfg, self.data)
        for table in sequence_chunks(path, self.entity, cfg.column, cfg.id_column, **options):
            part = self._tokenized(table, first)
            first, usable = first + len(part), usable + len(part.usable)
            yield part
        self.kind.spelling.warn()
        log.info("%s sequences, %s usable", f"{first:,}", f"{usable:,}")
        if first and not usable:
            log.warning(
                "%s: none of %s rows could be read as %s; the suffix tells the format (.csv, .tsv, .fasta, .smi), and "
                "column=<name> the column of a table",
                path,
                f"{first:,}",
                self.entity,
            )

    def records(self, values: Any) -> Records:
        from trimer.objects import sequences_of

        return self._tokenized(sequences_of(values, self.entity, self.cfg.column), 0)

    def _tokenized(self, table: LabelTable, first: int) -> Records:
        """The sequences as tokens of at most the trained length, or a reason."""
        sequences = self.kind.read(table.texts)
        problems = sequences.reasons() | table.problems
        most, way = self.data["max_length"], self.data["too_long"]
        tokens: dict[int, np.ndarray] = {}
        for row, ids in enumerate(sequences.tokens):
            kept = None if row in problems or ids is None else shortened(ids, most, way)
            if kept is not None:
                tokens[row] = kept
            elif row not in problems:
                problems[row] = f"{len(ids):,} tokens, and the model was trained on at most {most:,}"
        reasons = [f"{place}: {problems[row]}" if row in problems else None for row, place in enumerate(table.places)]
        heads = [{"id": name, "sequence": text} for name, text in zip(table.ids, table.texts, strict=True)]
        usable = list(tokens)
        if self.kind.has_modifications:
            for row, sites in unseen_of_peptides(self.loaded, sequences.texts, usable).items():
                heads[row]["unseen"] = sites
        identities = self.kind.identities(sequences)
        keys = sequence_keys(self.entity, [identities[row] for row in usable])
        overlap = training_overlap(self.loaded.training_keys, keys)
        overlap.add_to_heads(heads, usable)
        return Records(heads, reasons, usable, model_inputs(self.kind, sequences, tokens), overlap, first)

    def predict_chunk(self, inputs: Sequence[ModelInput]) -> list[list[dict]]:
        batch = flat(inputs).to(self.device)
        predicted = self.net.predictions(self.net(batch)).cpu()
        sizes = [size - 2 for size in batch.sizes] if self.target == "residue" else 1
        thresholds = self.net.thresholds
        return [[self._row(values.numpy(), thresholds)] for values in predicted.split(sizes)]

    def _row(self, predicted: np.ndarray, thresholds: np.ndarray) -> dict:
        """The columns of a sequence.

        predicted: (1, K) probabilities or numbers, or (R, C) probabilities of residues.
        """
        values: list = [float(value) for value in predicted.ravel()]
        if self.target == "single":
            best = int(decide_classes(predicted, thresholds)[0])
            values = [self.classes[best], values[best], *values]
        elif self.target == "multi":
            words = ["yes" if yes else "no" for yes in decide_labels(predicted, thresholds)[0]]
            values = [value for pair in zip(words, values, strict=True) for value in pair]
        elif self.target == "residue":
            probabilities = np.asarray(predicted, np.float64).round(DIGITS)
            best_of_each = decide_classes(probabilities, thresholds)
            labels = joined_labels([self.classes[number] for number in best_of_each])
            chosen = probabilities[np.arange(len(best_of_each)), best_of_each].tolist()
            values = [labels, chosen, *probabilities.T.tolist()]
        return dict(zip(self.names, values, strict=True))

    def notes(self) -> list[str]:
        return [] if self.target == "regression" else [self.loaded.study.thresholds_text()]


def label_columns(target: str, classes: Sequence[str]) -> list[str]:
    """The names of the columns that hold labels, for a target of labelled data."""
    return {
        "single": ["label", "probability", *(f"probability of {name}" for name in classes)],
        "multi": [f"{what} {name}" for name in classes for what in ("predicted", "probability of")],
        "regression": [f"predicted {name}" if name in HEADS else name for name in classes],
        "residue": ["labels", "probability", *(f"probability of {name}" for name in classes)],
    }[target]
