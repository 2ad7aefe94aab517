"""Embeddings of sequences in files or in Python, by our checkpoints or by public weights of ESM-2 or RoBERTa."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.accelerators.hardware import place
from trimer.data.core.label_table import LabelTable
from trimer.data.core.store import Ragged
from trimer.data.labelled.sequence_files import sequence_chunks
from trimer.data.labelled.sequence_kinds import KINDS, ModelInput, flat, model_inputs
from trimer.errors import ConfigError
from trimer.prediction.embedding import embed
from trimer.prediction.workers import computing_with, in_order

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded

CHUNK = 128  # records that are embedded together


@dataclass
class EmbeddedPart:
    """Some records of the input.

    lengths: tokens without `<cls>` and `<eos>`, 0 where a record could not be read. reasons: why a record has no
    vector, or None. inputs: what the model reads of the records that have one. vectors: of all records, in order.
    """

    ids: list[str]
    lengths: list[int]
    reasons: list[str | None]
    inputs: list[ModelInput]
    vectors: Iterable[np.ndarray | None] = ()


class Embedder:
    """Vectors of the sequences that a checkpoint reads. cfg: the config of `trimer embed`."""

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        study = loaded.study
        encoder = study.encoder()
        if cfg.tokens_per_batch is not None and cfg.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch={cfg.tokens_per_batch} must be 1 or more")
        if cfg.layer is not None and not 0 <= cfg.layer <= len(encoder.layers):
            raise ConfigError(f"layer={cfg.layer}: this model has layers 0 (embeddings) to {len(encoder.layers)}")
        self.loaded, self.cfg, self.entity = loaded, cfg, study.entity
        self.kind = KINDS[self.entity](loaded.tokenizer)
        self.longest = getattr(getattr(encoder, "encoder", encoder), "longest", None) or math.inf
        self.net = place(encoder, cfg.trainer)

    @classmethod
    def of_checkpoint(cls, path: str, cfg: DictConfig) -> Embedder:
        """The embedder of a checkpoint of ours, of a Hugging Face folder, or of a `.pt` file of fair-esm."""
        from trimer.checkpoint import load
        from trimer.public import is_public, load_public

        return cls(load_public(path, atoms=cfg.atoms) if is_public(path) else load(path), cfg)

    def read(self, path: Path) -> Iterator[LabelTable]:
        """The records of a file in tables of some thousand."""
        return sequence_chunks(path, self.entity, self.cfg.column, self.cfg.id_column)

    def records(self, values: Any) -> list[LabelTable]:
        """Records from Python objects: a list, a DataFrame, or objects of the field."""
        from trimer.objects import sequences_of

        return [sequences_of(values, self.entity, self.cfg.column)]

    def embed(self, tables: Iterable[LabelTable]) -> Iterator[EmbeddedPart]:
        """The records with their vectors, in order."""
        with computing_with(self) as compute:
            parts = (
                self._read(table.take(range(start, min(start + CHUNK, len(table)))))
                for table in tables
                for start in range(0, len(table), CHUNK)
            )
            for part, vectors in in_order(((part, compute(part.inputs)) for part in parts), self.cfg):
                made = iter(vectors)
                part.vectors = (None if reason else next(made) for reason in part.reasons)
                yield part

    def predict_chunk(self, inputs: Sequence[ModelInput]) -> list[np.ndarray]:
        """A vector, or one for each position, of each sequence."""
        packed = Ragged.pack([one.tokens for one in inputs])
        options = (self.cfg.pooling, self.cfg.layer, self.cfg.tokens_per_batch)
        return list(embed(self.net, packed, *options, lambda rows: flat([inputs[row] for row in rows])))

    def _read(self, table: LabelTable) -> EmbeddedPart:
        longest, sequences = self.cfg.longest, self.kind.read(table.texts)
        problems = sequences.reasons() | table.problems
        lengths = [0 if tokens is None else len(tokens) - 2 for tokens in sequences.tokens]
        for row, length in enumerate(lengths):
            if longest is not None and length > longest:
                problems.setdefault(row, f"{length:,} tokens, longer than longest={longest:,}")
            if length + 2 > self.longest:
                most = f"the model reads at most {self.longest:,}"
                problems.setdefault(row, f"{length + 2:,} tokens with both ends, {most}")
        reasons = [f"{place}: {problems[row]}" if row in problems else None for row, place in enumerate(table.places)]
        tokens = {row: ids for row, ids in enumerate(sequences.tokens) if row not in problems}
        inputs = list(model_inputs(self.kind, sequences, tokens).values())
        return EmbeddedPart(table.ids, lengths, reasons, inputs)
