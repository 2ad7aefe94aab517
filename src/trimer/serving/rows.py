"""The rows of a request: all of them, or as they are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from trimer.data.core.label_table import LabelTable
from trimer.prediction.embedder import Embedder
from trimer.prediction.predictor import CHUNK, Prediction, Predictor, Records
from trimer.serving.vectors import EMBEDDING_COLUMNS

BATCHES = 2  # of a piece of a streamed answer


@dataclass
class Answer:
    """The rows of a request, in the order of its records: one or more for each, or one with a reason.

    computer: the predictor or embedder, which knows the formats of files. seed: of the sampling, None without sampling.
    """

    columns: list[str]
    predictions: list[Prediction]
    computer: Predictor | Embedder
    seed: int | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[dict]:
        """The rows of all records."""
        return [row for prediction in self.predictions for row in prediction]

    @cached_property
    def without(self) -> int:
        """The number of records with a reason in place of a prediction."""
        return without(self.predictions)


@dataclass
class Rows:
    """The rows of a request that is being computed, in the order of its records.

    total: number of records. size: of them are computed together. computed: their rows, computed as they are taken.
    left: called with a number of records and a reason; returns rows with this reason for all further records. seed: of
    the sampling, None without sampling.
    """

    columns: list[str]
    total: int
    size: int
    computed: Iterator[Prediction]
    left: Callable[[int, str], Iterator[Prediction]]
    computer: Predictor | Embedder
    seed: int | None
    warnings: list[str]

    def answer(self) -> Answer:
        """All rows."""
        return Answer(self.columns, list(self.computed), self.computer, self.seed, self.warnings)


def without(predictions: Sequence[Prediction]) -> int:
    """The number of records with a reason in place of a prediction."""
    return sum(prediction[0]["reason"] is not None for prediction in predictions)


def piece_size(predictor: Predictor, chunks: Sequence[Records], tokens: int) -> int:
    """The number of records that fill about BATCHES batches. tokens: of a batch."""
    costs = [predictor.cost_of(value) for records in chunks[:1] for value in list(records.inputs.values())[:CHUNK]]
    mean = sum(costs) / len(costs) if costs else 1.0
    return max(1, min(CHUNK, round(BATCHES * tokens / max(mean, 1.0))))


def left_predictions(chunks: Sequence[Records], columns: Sequence[str], done: int, reason: str) -> Iterator[Prediction]:
    """A row with a reason for each record after the first `done` ones; records without inputs have their own reason."""
    for records in chunks:
        for row in range(done, len(records)):
            known = {**dict.fromkeys(columns), "row": records.first + row + 1, **records.heads[row]}
            yield [{**known, "reason": records.reasons[row] or reason}]
        done = max(0, done - len(records))


def left_vectors(tables: Sequence[LabelTable], done: int, reason: str) -> Iterator[Prediction]:
    """A row with a reason for each sequence after the first `done` ones."""
    row = 0
    for table in tables:
        for place, name in enumerate(table.ids):
            row += 1
            if row > done:
                problem = table.problems.get(place)
                failed = reason if problem is None else f"{table.places[place]}: {problem}"
                yield [dict(zip(EMBEDDING_COLUMNS, (row, name, None, None, failed), strict=True))]
