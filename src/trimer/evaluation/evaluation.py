"""The result of an evaluation, for every kind of study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trimer.reporting.table import ResultTable
from trimer.results.html_tables import html_table

if TYPE_CHECKING:
    import pandas
    import pyarrow


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

    def _repr_html_(self) -> str:
        names = ["method", *self.table.columns]
        return html_table(self.table.records(), names, len(self.table.rows), "methods", drawn=())

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas DataFrame with a row for each method: `method`, `kind` (baseline, bound, method) and all metrics."""
        import pandas

        return pandas.DataFrame(self.table.records())

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow Table with the same rows and columns."""
        import pyarrow

        records = self.table.records()
        return pyarrow.table({name: [record[name] for record in records] for name in (records[0] if records else ())})

    def differences(self) -> list[dict[str, Any]]:
        """The model minus each baseline on the same records, a dictionary for each baseline and metric.

        Keys: `method`, `metric`, `difference`, `std_error`, `ci95_low`, `ci95_high`, `p` (two-sided) and `verdict`
        (better, worse, within error, no error).
        """
        from trimer.reporting.differences import compared

        return [d.record() for of_row in compared(self.table, all_metrics=True).values() for d in of_row.values()]

    def plot(self, metric: str | None = None, ax: Any = None) -> Any:
        """Plot a metric of all methods as bars, with standard errors; by default the first one of the table."""
        from trimer.results.plots import plot_metric

        return plot_metric(self.table, metric, ax)
