"""Predicts labels of molecules, proteins, peptides and residues.

Columns of the table: row, id, sequence as in the input; then
- one of several classes: label, its probability, the probability of each class;
- yes/no labels: predicted (yes or no) and probability of each label;
- numbers: a column for each, and the ends of its 90 % interval (`_low`, `_high`);
- classes of residues: all labels as one string, the probability of each, and for each class the probabilities of all
  residues;
- unseen (peptides): residues and modifications that are not in the training data;
- applicability: nearness to the training data, 0 to 1: for molecules the highest Tanimoto similarity to a training
  molecule, otherwise as in `trimer.training_embeddings`;
- in_training: whether the sequence is in the training data; reason: why there is no prediction.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from trimer.data.labelled.molecule_features import listed, matrix
from trimer.data.labelled.residue_labels import joined_labels
from trimer.data.labelled.sequence_kinds import ModelInput, Sequences
from trimer.flat import Flat
from trimer.metrics.decisions import decide_classes, decide_labels
from trimer.prediction.averaging import Averaging
from trimer.prediction.embedding import pooled
from trimer.prediction.pages import is_page, page_settings
from trimer.prediction.prediction_tables import PredictionFile, Write
from trimer.prediction.sequence_predictor import SequencePredictor
from trimer.prediction.structure_file import SDF, write_sdf
from trimer.reporting.prediction_page import HTML, LabelPage
from trimer.studies.label_study import thresholds_text
from trimer.training_embeddings import Neighbours
from trimer.training_facts import unseen_sites_of
from trimer.training_molecules import library_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.models.labelled_model import Labelled

log = logging.getLogger(__name__)

DIGITS = 5  # decimals of the probabilities of residues
ENDS = ("_low", "_high")  # of the columns of an interval
HEADS = ("row", "id", "sequence", "applicability", "in_training", "reason")  # columns of every label table


class LabelPredictor(SequencePredictor):
    """Predicts the labels of sequences. `names`: the columns of the labels."""

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        super().__init__(loaded, cfg)
        labels = loaded.contract["labels"]
        self.target, self.classes = labels["target"], labels["classes"]
        self.averaging = Averaging.of(loaded, cfg.get("augment"), cfg.seed)
        self.features = listed(self.data.get("features") or ())
        self.names = label_columns(self.target, self.classes)
        unseen = ("unseen",) if self.kind.has_modifications else ()
        widths = cast("Labelled", loaded.net).half_widths
        self.half_widths = [math.nan] * len(self.classes) if widths is None else widths.tolist()
        if self.target == "regression" and widths is None:
            self.empty["intervals (_low, _high)"] = (
                "the checkpoint is not calibrated; add this with trimer evaluate ckpt=... calibrate=true"
            )
        self.columns = [*HEADS[:3], *self.names, *unseen, *HEADS[3:]]
        self.structure = "sequence" if self.entity == "molecules" else None
        self.molecules = library_of(loaded) if self.entity == "molecules" else None
        self.neighbours = Neighbours.of(loaded) if self.entity != "molecules" else None
        if self.molecules is None and self.neighbours is None:
            self.empty["applicability"] = (
                "the checkpoint does not describe its training data; add this with trimer evaluate ckpt=... "
                "calibrate=true"
            )

    def writer(self, output: str | Path) -> PredictionFile:
        structure = self.structure
        further: dict[str, Write] = {SDF: functools.partial(write_sdf, structure=structure)} if structure else {}
        if is_page(self.cfg):
            shown = page_settings(self, "Predicted labels")
            further[HTML] = LabelPage(**shown, target=self.target, names=self.names, molecules=structure is not None)
        return PredictionFile(output, self.columns, self.plural, further)

    def add_columns(self, heads: list[dict], sequences: Sequences, usable: Sequence[int]) -> None:
        if self.kind.has_modifications:
            for row, sites in unseen_sites_of(self.loaded, sequences.texts, usable).items():
                heads[row]["unseen"] = sites
        if self.molecules is not None:
            for row in usable:
                heads[row]["applicability"] = self.molecules.similarity(sequences.texts[row] or "")

    def predict_chunk(self, inputs: Sequence[ModelInput]) -> list[list[dict]]:
        batch = self.batch(inputs)
        hidden = self.net.hidden(batch)
        predicted = self._averaged(self.net.predictions(self.net.head(hidden, batch)).cpu(), inputs)
        sizes = [size - 2 for size in batch.sizes] if self.target == "residue" else 1
        thresholds = self.net.thresholds
        rows = [self._row(values.numpy(), thresholds) for values in predicted.split(sizes)]
        if self.neighbours is not None:
            vectors = pooled(hidden.float(), batch, "mean").cpu().numpy()
            for row, value in zip(rows, self.neighbours.applicability(vectors), strict=True):
                row["applicability"] = value
        return [[row] for row in rows]

    def batch(self, inputs: Sequence[ModelInput]) -> Flat:
        """The input of the network on its device, with the features of molecules that its head reads."""
        batch = super().batch(inputs)
        if self.features:
            features = matrix([molecule.text or "" for molecule in inputs], self.features)
            batch.features = torch.from_numpy(features).to(self.device)
        return batch

    def _averaged(self, canonical: Tensor, inputs: Sequence[ModelInput]) -> Tensor:
        """(n, K) predictions averaged as the checkpoint says, from those of the canonical SMILES."""
        if not self.averaging.random_smiles and self.averaging.boosting is None:
            return canonical
        smiles = [sequence.text or "" for sequence in inputs]
        total = canonical.double()
        for rewrite in self.averaging.variants(self.loaded.tokenizer, self.data["max_length"]):
            others = [
                sequence._replace(tokens=rewrite(text, sequence.tokens))
                for sequence, text in zip(inputs, smiles, strict=True)
            ]
            total += self.net.predictions(self.net(self.batch(others))).cpu()
        language = (total / (1 + self.averaging.random_smiles)).float()
        return torch.from_numpy(self.averaging.with_boosting(language.numpy(), smiles))

    def _row(self, predicted: np.ndarray, thresholds: np.ndarray) -> dict:
        """The label columns of one sequence.

        predicted: (1, K) probabilities or numbers, or (R, C) probabilities of residues.
        """
        values: list = [float(value) for value in predicted.ravel()]
        if self.target == "single":
            best = int(decide_classes(predicted, thresholds)[0])
            values = [self.classes[best], values[best], *values]
        elif self.target == "regression":
            pairs = zip(values, self.half_widths, strict=True)
            values = [part for value, half_width in pairs for part in with_interval(value, half_width)]
        elif self.target == "multi":
            decisions = ["yes" if positive else "no" for positive in decide_labels(predicted, thresholds)[0]]
            values = [value for pair in zip(decisions, values, strict=True) for value in pair]
        elif self.target == "residue":
            probabilities = np.asarray(predicted, np.float64).round(DIGITS)
            numbers = decide_classes(probabilities, thresholds)
            labels = joined_labels([self.classes[number] for number in numbers])
            chosen = probabilities[np.arange(len(numbers)), numbers].tolist()
            values = [labels, chosen, *probabilities.T.tolist()]
        return dict(zip(self.names, values, strict=True))

    def notes(self) -> list[str]:
        return [] if self.target == "regression" else [thresholds_text(self.net, self.classes)]


def label_columns(target: str, classes: Sequence[str]) -> list[str]:
    """The names of the label columns, for a target of labelled data (data.target)."""
    return {
        "single": ["label", "probability", *(f"probability of {name}" for name in classes)],
        "multi": [f"{prefix} {name}" for name in classes for prefix in ("predicted", "probability of")],
        "regression": [column for name in classes for column in number_columns(name, classes)],
        "residue": ["labels", "probability", *(f"probability of {name}" for name in classes)],
    }[target]


def number_columns(name: str, names: Sequence[str]) -> tuple[str, str, str]:
    """The columns of a number and of the ends of its interval, none of which is that of another of the names."""
    shown = f"predicted {name}" if name in HEADS else name
    taken = {*HEADS, *names}
    low, high = (f"{shown}{end}" if f"{shown}{end}" not in taken else f"interval {name}{end}" for end in ENDS)
    return shown, low, high


def with_interval(value: float, half_width: float) -> tuple[float, float | None, float | None]:
    """A number with the ends of its interval, which are None if the half-width is NaN."""
    if math.isnan(half_width):
        return value, None, None
    return value, value - half_width, value + half_width
