"""Embeddings of sequences in files or in Python, by our checkpoints or by public weights of ESM-2 or RoBERTa."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.accelerators.hardware import computing, place
from trimer.data.core.label_table import LabelTable
from trimer.data.core.store import Ragged
from trimer.data.labelled.sequence_files import sequence_chunks
from trimer.data.labelled.sequence_kinds import KINDS, flat, model_inputs
from trimer.errors import ConfigError
from trimer.prediction.embedding import CHUNK, embed

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded


@dataclass
class EmbeddedPart:
    """Some records of the input. vectors: one for each record without a reason, made while they are asked for.

    lengths: tokens without the frame, 0 where a record could not be read.
    """

    ids: list[str]
    lengths: list[int]
    vectors: Iterator[np.ndarray | None]
    reasons: list[str | None]


class Embedder:
    """Vectors of the sequences that a checkpoint reads. cfg: the config of `trimer embed`."""

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        study = loaded.study
        encoder = study.encoder()
        if cfg.tokens_per_batch is not None and cfg.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch={cfg.tokens_per_batch} must be 1 or more")
        if cfg.layer is not None and not 0 <= cfg.layer <= len(encoder.layers):
            raise ConfigError(f"layer={cfg.layer}: this model has layers 0 (embeddings) to {len(encoder.layers)}")
        self.cfg, self.entity = cfg, study.entity
        self.kind = KINDS[self.entity](loaded.tokenizer)
        self.longest = getattr(getattr(encoder, "encoder", encoder), "longest", None) or math.inf
        self.net = place(encoder, cfg.trainer)

    def read(self, path: Path) -> Iterator[LabelTable]:
        """The records of a file in tables of some thousand."""
        return sequence_chunks(path, self.entity, self.cfg.column, self.cfg.id_column)

    def records(self, values: Any) -> list[LabelTable]:
        """Records from Python objects: a list, a DataFrame, or objects of the field."""
        from trimer.objects import sequences_of

        return [sequences_of(values, self.entity, self.cfg.column)]

    def embed(self, tables: Iterable[LabelTable]) -> Iterator[EmbeddedPart]:
        """The records with their vectors, in order."""
        with computing(self.cfg.trainer):
            for table in tables:
                for start in range(0, len(table), CHUNK):
                    yield self._embedded(table.take(range(start, min(start + CHUNK, len(table)))))

    def _embedded(self, table: LabelTable) -> EmbeddedPart:
        cfg, sequences = self.cfg, self.kind.read(table.texts)
        problems = sequences.reasons() | table.problems
        lengths = [0 if tokens is None else len(tokens) - 2 for tokens in sequences.tokens]
        for row, length in enumerate(lengths):
            if cfg.longest is not None and length > cfg.longest:
                problems.setdefault(row, f"{length:,} tokens, longer than longest={cfg.longest:,}")
            if length + 2 > self.longest:
                problems.setdefault(
                    row, f"{length + 2:,} tokens with both ends, the model reads at most {self.longest:,}"
                )
        reasons = [f"{place}: {problems[row]}" if row in problems else None for row, place in enumerate(table.places)]
        tokens = {row: ids for row, ids in enumerate(sequences.tokens) if row not in problems}
        inputs = list(model_inputs(self.kind, sequences, tokens).values())
        packed = Ragged.pack([one.tokens for one in inputs])
        made = embed(
            self.net,
            packed,
            cfg.pooling,
            cfg.layer,
            cfg.tokens_per_batch,
            lambda rows: flat([inputs[row] for row in rows]),
        )
        return EmbeddedPart(table.ids, lengths, (None if reason else next(made) for reason in reasons), reasons)
