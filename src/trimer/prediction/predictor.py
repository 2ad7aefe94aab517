"""Predictions for records of a user: one implementation for the command line, Python and every endpoint.

A predictor is made from a checkpoint by its study (`loaded.study.predictor(cfg)`). It reads records from files or from
Python objects, and yields one prediction, or one reason, for each record, in the order of the input.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig

from trimer.accelerators.hardware import place
from trimer.data.text.paths import find_files
from trimer.prediction.workers import computing_with, in_order

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded
    from trimer.evaluation.training_overlap import TrainingOverlap
    from trimer.prediction.partial import Partial
    from trimer.prediction.prediction_tables import PredictionFile
    from trimer.prediction.spectral_library import LibraryFile

CHUNK = 128  # records that are predicted together

# The rows of the table for one record, best first; a record without a prediction has one row with its reason.
Prediction = list[dict]


@dataclass
class Records:
    """n records as a predictor reads them.

    heads: n dicts of columns that are known before the prediction, such as `id`. reasons: n, why a record cannot be
    predicted, or None. usable: the records that can be. inputs: what the model reads of each usable record, by record.
    first: number of records before these in the input. overlap: whether the usable records were in the training data.
    """

    heads: list[dict]
    reasons: list[str | None]
    usable: list[int]
    inputs: dict[int, Any] = field(repr=False)
    overlap: TrainingOverlap
    first: int = 0

    def __len__(self) -> int:
        return len(self.heads)


class Predictor(ABC):
    """Base class of the predictors. cfg: the config of `trimer predict`; `trainer.devices` processes share the work."""

    columns: Sequence[str]  # of the table of predictions
    plural: str  # the records, in words

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        self.loaded, self.cfg = loaded, cfg
        self._net: torch.nn.Module | None = None
        self.checkpoints = [loaded.path]  # files that the predictions depend on

    @classmethod
    def of_checkpoint(cls, path: str, cfg: DictConfig) -> Predictor:
        """The predictor of a checkpoint; `load` and `study.predictor` in one."""
        from trimer.checkpoint import load

        return load(path).study.predictor(cfg)

    @property
    def net(self) -> torch.nn.Module:
        """The network on its device, in evaluation mode."""
        if self._net is None:
            self._net = place(self.loaded.net, self.cfg.trainer)
        return self._net

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @abstractmethod
    def read(self, path: Path) -> Iterator[Records]:
        """The records of a file, in parts."""

    @abstractmethod
    def records(self, values: Any) -> Records:
        """Records from Python objects: a list, a DataFrame, or objects of the field (`trimer.objects`)."""

    @abstractmethod
    def predict_chunk(self, inputs: Sequence[Any]) -> list[list[dict]]:
        """For each input its rows of the table, best first, as plain values; `{"reason": ...}` where there is none."""

    @abstractmethod
    def writer(self, output: str | Path) -> PredictionFile | LibraryFile:
        """The file that takes the predictions; ConfigError for a suffix that it does not have."""

    def notes(self) -> list[str]:
        """Sentences that belong under the summary of the predictions."""
        return []

    def files(self, path: Path) -> list[Path]:
        """The files that `read(path)` opens; InputError where there is none."""
        return find_files([str(path)], "a file of records")

    def predict(self, parts: Iterable[Records], partial: Partial | None = None) -> Iterator[Prediction]:
        """A prediction or a reason for each record, in order.

        partial: keeps what was computed, so that a prediction which was stopped continues.
        """
        with computing_with(self) as compute:

            def jobs() -> Iterator[tuple[tuple[Records, range, list[int]], Callable[[], list]]]:
                for part, covered, usable, key in self._chunks(parts):
                    inputs = [part.inputs[row] for row in usable]
                    results: Callable[[], list] = list
                    if inputs and partial is None:
                        results = compute(inputs)
                    elif inputs:
                        known = partial is not None and key in partial
                        results = functools.partial(partial.once, key, list if known else compute(inputs))
                    yield (part, covered, usable), results

            for (part, covered, usable), predicted in in_order(jobs(), self.cfg):
                yield from self._finished(part, covered, dict(zip(usable, predicted, strict=True)))

    def _finished(self, part: Records, covered: range, predicted: dict[int, list[dict]]) -> Iterator[Prediction]:
        for row in covered:
            record = {**dict.fromkeys(self.columns), "row": part.first + row + 1, **part.heads[row]}
            record["reason"] = part.reasons[row]
            yield [{**record, **values} for values in predicted.get(row) or [{}]]

    def _chunks(self, parts: Iterable[Records]) -> Iterator[tuple[Records, range, list[int], str]]:
        """Usable records that are predicted together, with the range of records that they complete, and their key."""
        for part in parts:
            begin = 0
            for start in range(0, max(len(part.usable), 1), CHUNK):
                usable = part.usable[start : start + CHUNK]
                end = usable[-1] + 1 if start + CHUNK < len(part.usable) else len(part)
                yield part, range(begin, end), usable, f"{self.plural} {part.first}+{start}"
                begin = end
