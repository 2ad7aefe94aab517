"""The result of an evaluation, for every kind of study."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from trimer.reporting.table import ResultTable


class Evaluation(Protocol):
    """A table of methods by metrics, and the metrics of the model. Kinds of study add predictions and what is drawn."""

    table: ResultTable
    metrics: dict[str, float]

    def split_metrics(self, split: str) -> dict[str, float]:
        """The metrics with the name of the split, such as `test/accuracy`."""
        return {f"{split}/{name}": value for name, value in self.metrics.items()}

    def save(self, out: Path) -> None:
        """Write the table and the predictions to a folder."""
        ...
