"""Embeddings of sequences from files or Python objects, by checkpoints of Trimer or public weights (ESM-2, RoBERTa)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from trimer.accelerators.hardware import place
from trimer.data.core.label_table import LabelTable
from trimer.data.core.store import Ragged
from trimer.data.labelled.sequence_files import sequence_chunks
from trimer.data.labelled.sequence_kinds import KINDS, ModelInput, flat, model_inputs
from trimer.errors import ConfigError
from trimer.prediction.embedding import check_pooling, embed
from trimer.prediction.workers import Compute, computing_with, in_order, processes_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.protocols import Encoder

CHUNK = 128  # records that are embedded together


@dataclass
class EmbeddedRecords:
    """Some consecutive records of the input.

    lengths: tokens without `<cls>` and `<eos>`, 0 if a record could not be read. reasons: why a record has no vector,
    or None. inputs: model inputs of the records without a reason. vectors: of all records, in order.
    """

    ids: list[str]
    lengths: list[int]
    reasons: list[str | None]
    inputs: list[ModelInput]
    vectors: Iterable[np.ndarray | None] = ()


class Embedder:
    """Computes embeddings with a checkpoint. cfg: the config of `trimer embed`."""

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        study = loaded.study
        encoder: Any = study.encoder()
        check_pooling(cfg.pooling)
        if cfg.tokens_per_batch is not None and cfg.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch={cfg.tokens_per_batch} must be 1 or more")
        layers = len(getattr(encoder, "layers", ()))
        if cfg.layer is not None and not 0 <= cfg.layer <= layers:
            raise ConfigError(f"layer={cfg.layer}: this model has layers 0 (embeddings) to {layers}")
        self.loaded, self.cfg, self.entity = loaded, cfg, study.entity
        self.reading: dict[str, Any] = {"column": cfg.column, "id_column": cfg.id_column}
        self.kind = KINDS[self.entity](loaded.tokenizer)
        self.longest = getattr(getattr(encoder, "encoder", encoder), "longest", None) or math.inf
        self.net = place(encoder, cfg.trainer)

    @property
    def per_position(self) -> bool:
        """Whether each sequence has a vector for each of its positions."""
        return self.cfg.pooling == "residue"

    @classmethod
    def of_checkpoint(cls, path: str, cfg: DictConfig) -> Embedder:
        """The embedder of a checkpoint of Trimer, a Hugging Face folder, or a `.pt` file of fair-esm."""
        from trimer.checkpoint import load
        from trimer.public import is_public, load_public

        if is_public(path):
            return cls(load_public(path, atoms=cfg.atoms), cfg)
        if cfg.atoms:
            raise ConfigError(
                f"atoms=true is for a public RoBERTa of SMILES, and {path} is a checkpoint with its own tokenizer: "
                "remove atoms=true"
            )
        return cls(load(path), cfg)

    def read(self, path: Path) -> Iterator[LabelTable]:
        """The records of a file, in tables of some thousand records."""
        return sequence_chunks(path, self.entity, **self.reading)

    def records(self, values: Any) -> list[LabelTable]:
        """Records from Python objects: a list, a DataFrame, or objects of other libraries (`trimer.objects`)."""
        from trimer.objects import sequences_of

        return [sequences_of(values, self.entity, **self.reading)]

    def embed(self, tables: Iterable[LabelTable], compute: Compute | None = None) -> Iterator[EmbeddedRecords]:
        """The records with their vectors, in order. compute: as in `Predictor.predict`."""
        processes = processes_of(self.cfg) if compute is None else 1
        with computing_with(self) if compute is None else nullcontext(compute) as start:
            chunks = (
                self._read(table.take(range(first, min(first + CHUNK, len(table)))))
                for table in tables
                for first in range(0, len(table), CHUNK)
            )
            for chunk, vectors in in_order(((chunk, start(chunk.inputs)) for chunk in chunks), processes):
                remaining = iter(vectors)
                chunk.vectors = (None if reason else next(remaining) for reason in chunk.reasons)
                yield chunk

    def cost_of(self, value: ModelInput) -> int:
        """What the embedding of a sequence costs in a batch: its number of tokens."""
        return len(value.tokens)

    def predict_chunk(self, inputs: Sequence[ModelInput]) -> list[np.ndarray]:
        """For each sequence a vector, or a vector for each position."""
        packed = Ragged.pack([sequence.tokens for sequence in inputs])
        options = (self.cfg.pooling, self.cfg.layer, self.cfg.tokens_per_batch)
        return list(
            embed(cast("Encoder", self.net), packed, *options, lambda rows: flat([inputs[row] for row in rows]))
        )

    def _read(self, table: LabelTable) -> EmbeddedRecords:
        longest, sequences = self.cfg.longest, self.kind.read(table.texts)
        problems = sequences.reasons() | table.problems
        lengths = [0 if tokens is None else len(tokens) - 2 for tokens in sequences.tokens]
        for row, length in enumerate(lengths):
            if longest is not None and length > longest:
                problems.setdefault(row, f"{length:,} tokens, longer than longest={longest:,}")
            if length + 2 > self.longest:
                problems.setdefault(
                    row, f"{length + 2:,} tokens including <cls> and <eos>, the model reads at most {self.longest:,}"
                )
        reasons = [f"{place}: {problems[row]}" if row in problems else None for row, place in enumerate(table.places)]
        tokens = {row: ids for row, ids in enumerate(sequences.tokens) if ids is not None and row not in problems}
        inputs = list(model_inputs(self.kind, sequences, tokens).values())
        return EmbeddedRecords(table.ids, lengths, reasons, inputs)
