"""The base class of predictors of molecules, proteins and peptides, which reads and tokenizes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.counts import counted
from trimer.data.core.label_table import LabelTable
from trimer.data.core.training_keys import sequence_keys
from trimer.data.labelled.sequence_files import read_as, sequence_chunks
from trimer.data.labelled.sequence_kinds import KINDS, ModelInput, Sequences, flat, model_inputs, shortened
from trimer.evaluation.training_overlap import training_overlap
from trimer.flat import Flat
from trimer.prediction.prediction_tables import PredictionFile
from trimer.prediction.predictor import Predictor, Records

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)


class SequencePredictor(Predictor):
    """Predicts from sequences of the entity of a checkpoint; subclasses define `columns` and `predict_chunk`.

    The columns `row`, `id`, `sequence` (as in the input), `in_training` and `reason` are filled here.
    """

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        super().__init__(loaded, cfg)
        self.data, self.entity = loaded.contract["data"], loaded.study.entity
        self.kind = KINDS[self.entity](loaded.tokenizer)
        self.plural = self.kind.plural
        self.reading: dict[str, Any] = {"column": cfg.column, "id_column": cfg.id_column, **read_as(cfg, self.data)}

    def writer(self, output: str | Path) -> PredictionFile:
        return PredictionFile(output, self.columns, self.plural)

    def read(self, path: Path) -> Iterator[Records]:
        first, usable, reason = 0, 0, None
        for table in sequence_chunks(path, self.entity, **self.reading):
            records = self._tokenized(table, first)
            first, usable = first + len(records), usable + len(records.usable)
            reason = reason or next(filter(None, records.reasons), None)
            yield records
        self.kind.spelling.warn()
        log.info("%s, %s usable", counted(first, self.plural), f"{usable:,}")
        if first and not usable:
            log.warning(
                "none of the %s rows of %s can be used, for example %s; check that the suffix fits the format (.csv, "
                ".tsv, .fasta, .smi), and name the column of a table with column=<name>",
                f"{first:,}",
                path,
                reason,
            )

    def records(self, values: Any) -> Records:
        from trimer.objects import sequences_of

        return self._tokenized(sequences_of(values, self.entity, **self.reading), 0)

    def batch(self, inputs: Sequence[ModelInput]) -> Flat:
        """The input of the network, on its device."""
        return flat(inputs).to(self.device)

    def add_columns(self, heads: list[dict], sequences: Sequences, usable: Sequence[int]) -> None:
        """Add columns that need no network to the heads of the usable rows."""

    def _tokenized(self, table: LabelTable, first: int) -> Records:
        """The sequences as tokens of at most the maximum length of the training, or with a reason."""
        sequences = self.kind.read(table.texts)
        problems = sequences.reasons() | table.problems
        max_length, too_long = self.data.get("max_length"), self.data.get("too_long") or "drop"
        tokens: dict[int, np.ndarray] = {}
        for row, ids in enumerate(sequences.tokens):
            if row in problems or ids is None:
                continue
            kept = ids if max_length is None else shortened(ids, max_length, too_long)
            if kept is not None:
                tokens[row] = kept
            else:
                problems[row] = f"{len(ids):,} tokens, the model was trained on at most {max_length:,}"
        reasons = [f"{place}: {problems[row]}" if row in problems else None for row, place in enumerate(table.places)]
        heads: list[dict] = [{"id": name, "sequence": text} for name, text in zip(table.ids, table.texts, strict=True)]
        usable = list(tokens)
        identities = self.kind.identities(sequences)
        keys = sequence_keys(self.entity, [identities[row] for row in usable])
        overlap = training_overlap(self.loaded.training_keys, keys)
        overlap.add_to_heads(heads, usable)
        self.add_columns(heads, sequences, usable)
        self.report_empty_columns()
        return Records(heads, reasons, usable, model_inputs(self.kind, sequences, tokens), overlap, first)
