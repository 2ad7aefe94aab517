"""Predictions: rows with named columns, with a reason for each record without a prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from trimer.counts import counted
from trimer.errors import InputError
from trimer.files import write_csv
from trimer.results.html_tables import html_table

if TYPE_CHECKING:
    import pandas
    import pyarrow


class Predictions:
    """Rows of predictions in the order of the records, one or several for each record.

    rows: dictionaries; missing keys become None. columns: names in order; by default those of the rows. what: name of
    the records, for example "spectra". plotter: what `plot` calls with the predictions, by default
    `trimer.results.plots.plot_predictions`. The column `reason` says why a record has no prediction.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[str] | None = None,
        what: str = "records",
        plotter: Callable[..., Any] | None = None,
    ):
        self.columns = (
            list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
        )
        self.rows: list[dict[str, Any]] = [{name: row.get(name) for name in self.columns} for row in rows]
        self.what = what
        self.plotter = plotter

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, key: slice) -> Predictions: ...

    def __getitem__(self, key: Any) -> Any:
        """A column by its name, a row by its number, or the predictions of a slice of rows."""
        if isinstance(key, str):
            if key not in self.columns:
                raise KeyError(f"no column '{key}'; there are {', '.join(self.columns)}")
            return [row[key] for row in self.rows]
        if isinstance(key, slice):
            return Predictions(self.rows[key], self.columns, self.what, self.plotter)
        return self.rows[key]

    @property
    def reasons(self) -> list[str]:
        """Reasons of the records without a prediction, one sentence for each."""
        return [row["reason"] for row in self.rows if row.get("reason")]

    def __repr__(self) -> str:
        missing = f", {len(self.reasons):,} without a prediction (column 'reason')" if self.reasons else ""
        return f"Predictions: {counted(len(self), 'rows')} for {self.what}{missing}; columns: {', '.join(self.columns)}"

    def _repr_html_(self) -> str:
        empty = {name for name in self.columns if all(row[name] is None for row in self.rows)}
        shown = [name for name in self.columns if name not in empty]
        return html_table(self.rows, shown, len(self), f"rows for {self.what}")

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas DataFrame with the same rows and columns."""
        import pandas

        return pandas.DataFrame(self.rows, columns=self.columns)

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow Table; a column of mixed types becomes text."""
        import pyarrow

        def column(name: str) -> pyarrow.Array:
            values = [row[name] for row in self.rows]
            try:
                return pyarrow.array(values)
            except pyarrow.ArrowException:
                return pyarrow.array([None if value is None else str(value) for value in values], pyarrow.string())

        return pyarrow.table({name: column(name) for name in self.columns})

    def to_csv(self, path: str | Path) -> Path:
        """Write a CSV file atomically; returns its path."""
        target = Path(path).expanduser()
        if not target.parent.is_dir():
            raise InputError(f"{target}: the folder {target.parent} does not exist; create it first")
        if target.is_dir():
            raise InputError(f"{target} is a folder; name a file in it")
        write_csv(target, self.columns, self.rows)
        return target

    def plot(self, ax: Any = None) -> Any:
        """Plot the molecules, class probabilities, numbers or fragment spectra in the rows; returns axes of matplotlib.

        ax: axes of a single plot.
        """
        from trimer.results.plots import plot_predictions

        return (self.plotter or plot_predictions)(self, ax)
