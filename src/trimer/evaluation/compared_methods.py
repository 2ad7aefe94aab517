"""The rows of a result table: the model, its baselines, and the paired differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trimer.metrics.intervals import Measured, paired_differences
from trimer.reporting.table import ResultTable


def add_methods(
    table: ResultTable, model: str, measured: Mapping[str, Measured], names: Sequence[str] | None = None
) -> None:
    """Add methods that were measured on the same rows with the same resamples, in their order.

    model: the one that is compared with each other one, a baseline (`paired_differences`). names: the metrics that are
    compared; by default all that have resamples.
    """
    of_model = measured[model]
    for method, metrics in measured.items():
        compared = () if method == model else list(of_model.draws) if names is None else names
        table.add(method, metrics.values | paired_differences(of_model, metrics, compared), baseline=method != model)
