"""Predicts labels of molecules, proteins, peptides and residues; columns: see docs/reference/files.md."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from trimer.data.labelled.molecule_features import listed, matrix
from trimer.data.labelled.sequence_kinds import ModelInput, Sequences
from trimer.flat import Flat
from trimer.prediction.averaging import Averaging
from trimer.prediction.embedding import pooled
from trimer.prediction.pages import is_page, page_settings
from trimer.prediction.prediction_tables import PredictionFile, Write
from trimer.prediction.sequence_predictor import SequencePredictor
from trimer.prediction.structure_file import SDF, write_sdf
from trimer.reporting.prediction_page import HTML, LabelPage
from trimer.studies.label_study import thresholds_text
from trimer.targets import HEADS, target_of
from trimer.training_embeddings import Neighbours
from trimer.training_facts import unseen_sites_of
from trimer.training_molecules import library_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.models.labelled_model import Labelled


class LabelPredictor(SequencePredictor):
    """Predicts the labels of sequences. `names`: the columns of the labels."""

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        super().__init__(loaded, cfg)
        labels = loaded.contract["labels"]
        self.target, self.classes = target_of(labels["target"]), labels["classes"]
        self.averaging = Averaging.of(loaded, cfg.get("augment"), cfg.seed)
        self.features = listed(self.data.get("features") or ())
        self.names = self.target.columns(self.classes)
        unseen = ("unseen",) if self.kind.has_modifications else ()
        widths = cast("Labelled", loaded.net).half_widths
        self.half_widths = [math.nan] * len(self.classes) if widths is None else widths.tolist()
        if self.target.numbers and widths is None:
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
            shown |= {"labels": self.target.shown, "names": self.names, "molecules": structure is not None}
            further[HTML] = LabelPage(**shown)
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
        thresholds, parts = self.net.thresholds, predicted.split(self.target.outputs_of(batch.sizes))
        labels = [self.target.row(part.numpy(), self.classes, thresholds, self.half_widths) for part in parts]
        rows = [dict(zip(self.names, values, strict=True)) for values in labels]
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

    def notes(self) -> list[str]:
        return [] if self.target.numbers else [thresholds_text(self.net, self.classes)]
