"""Predictions for records of a user: one implementation for the command line and Python.

The study of a checkpoint creates its predictor (`loaded.study.predictor(cfg)`). A predictor reads records from files or
Python objects and yields one prediction, or one reason, for each record, in the order of the input.
"""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig

from trimer.accelerators.hardware import place
from trimer.data.text.paths import find_files
from trimer.errors import ConfigError
from trimer.prediction.workers import Compute, computing_with, in_order, processes_of

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded
    from trimer.evaluation.training_overlap import TrainingOverlap
    from trimer.prediction.partial import Partial
    from trimer.prediction.prediction_tables import PredictionFile
    from trimer.prediction.spectral_library import LibraryFile

log = logging.getLogger(__name__)

CHUNK = 128  # records that are predicted together

# The rows of the table for one record, best first; a record without a prediction has one row with its reason.
Prediction = list[dict]


@dataclass
class Records:
    """n records that a predictor has read.

    heads: n dicts of columns that are known before the prediction, such as `id`. reasons: n, why a record cannot be
    predicted, or None. usable: rows of the records that can be predicted. inputs: row -> model input of each usable
    record. first: number of records before these in the input. overlap: whether the usable records are in the training
    data.
    """

    heads: list[dict]
    reasons: list[str | None]
    usable: list[int]
    inputs: dict[int, Any] = field(repr=False)
    overlap: TrainingOverlap
    first: int = 0

    def __len__(self) -> int:
        return len(self.heads)


def check_inherits(predictor: object, ckpt: object, lacks: str) -> None:
    """ConfigError for a predictor with the members of the protocol only, which are enough in Python."""
    if not isinstance(predictor, Predictor):
        raise ConfigError(
            f"ckpt={ckpt}: its predictor {type(predictor).__name__} {lacks}: let the class inherit from "
            "trimer.prediction.predictor.Predictor, or predict in Python with trimer.load"
        )


class Predictor(ABC):
    """Base class of the predictors. cfg: the config of `trimer predict`; `trainer.devices` processes share the work."""

    columns: Sequence[str]  # of the table of predictions
    plural: str  # name of the records, such as "molecules"
    structure: str | None = None  # the column with SMILES, if the predictions can be written as structures (SDF)
    libraries: tuple[str, ...] = ()  # suffixes of the spectral libraries that `writer` also writes, without a dot

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        self.loaded, self.cfg = loaded, cfg
        self._net: torch.nn.Module | None = None
        self.checkpoints = [loaded.path]  # files that the predictions depend on
        self.empty: dict[str, str] = {}  # columns that stay empty -> the reason

    @classmethod
    def of_checkpoint(cls, path: str, cfg: DictConfig) -> Predictor:
        """The predictor of a checkpoint file, a run folder, or the folder of a public classifier."""
        from trimer.public_classifier import load_any

        return load_any(path).study.predictor(cfg)

    @property
    def net(self) -> Any:
        """The network on its device, in evaluation mode."""
        if self._net is None:
            self._net = place(self.loaded.net, self.cfg.trainer)
        return self._net

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @abstractmethod
    def read(self, path: Path) -> Iterator[Records]:
        """The records of a file, in chunks."""

    @abstractmethod
    def records(self, values: Any) -> Records:
        """Records from Python objects: a list, a DataFrame, or objects of other libraries (`trimer.objects`)."""

    @abstractmethod
    def predict_chunk(self, inputs: Sequence[Any]) -> list[list[dict]]:
        """The table rows of each input, best first, as plain values; `{"reason": ...}` if there is no prediction."""

    def tokens_of(self, value: Any) -> int:
        """The number of tokens of a model input."""
        return len(value.tokens)

    def cost_of(self, value: Any) -> int:
        """What the prediction of a model input costs in a batch, in tokens."""
        return self.tokens_of(value)

    @abstractmethod
    def writer(self, output: str | Path) -> PredictionFile | LibraryFile:
        """The output file of the predictions; ConfigError for an unsupported suffix."""

    def report_empty_columns(self) -> None:
        """Warn of columns that stay empty, with the reason, once for each predictor."""
        for name, reason in self.empty.items():
            log.warning("%s: empty, because %s", name, reason)
        self.empty = {}

    def notes(self) -> list[str]:
        """Sentences that are printed below the summary of the predictions."""
        return []

    def plotter(self) -> Callable[..., Any] | None:
        """What `plot` of the predictions in Python calls with them; None: a plot that follows from their columns."""
        return None

    def files(self, path: Path) -> list[Path]:
        """The files that `read(path)` opens; InputError if there is none."""
        return find_files([str(path)], "a file of records")

    def predict(
        self,
        chunks: Iterable[Records],
        partial: Partial | None = None,
        compute: Compute | None = None,
        size: int | None = None,
    ) -> Iterator[Prediction]:
        """A prediction or a reason for each record, in order.

        partial: stores finished chunks, so that an interrupted prediction can be continued. compute: computes chunks in
        place of this process or its workers; a server computes those of several requests together. size: records that
        are computed together, CHUNK by default; the first of them are yielded when all are computed.
        """
        processes = processes_of(self.cfg) if compute is None else 1
        with computing_with(self) if compute is None else nullcontext(compute) as start:

            def jobs() -> Iterator[tuple[tuple[Records, range, list[int]], Callable[[], list]]]:
                for records, rows, usable, key in self._chunks(chunks, size or CHUNK):
                    inputs = [records.inputs[row] for row in usable]
                    results: Callable[[], list] = list
                    if inputs and partial is None:
                        results = start(inputs)
                    elif inputs and partial is not None:
                        results = functools.partial(partial.once, key, list if key in partial else start(inputs))
                    yield (records, rows, usable), results

            for (records, rows, usable), predicted in in_order(jobs(), processes):
                yield from self._table_rows(records, rows, dict(zip(usable, predicted, strict=True)))

    def _table_rows(self, records: Records, rows: range, predicted: dict[int, list[dict]]) -> Iterator[Prediction]:
        for row in rows:
            known = {**dict.fromkeys(self.columns), "row": records.first + row + 1, **records.heads[row]}
            known["reason"] = records.reasons[row]
            yield [{**known, **values} for values in predicted.get(row) or [{}]]

    def _chunks(self, chunks: Iterable[Records], size: int) -> Iterator[tuple[Records, range, list[int], str]]:
        """Records, a range of their rows, the usable rows in it, which are predicted together, and the key of these."""
        for records in chunks:
            begin = 0
            for start in range(0, max(len(records.usable), 1), size):
                usable = records.usable[start : start + size]
                end = usable[-1] + 1 if start + size < len(records.usable) else len(records)
                yield records, range(begin, end), usable, f"{self.plural} {records.first}+{start}"
                begin = end
