"""Embeddings of records: a vector for each record, or for each of its positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.counts import counted
from trimer.errors import InputError
from trimer.results.html_tables import html_table

if TYPE_CHECKING:
    import pandas
    import pyarrow


def embedding_schema(per_position: bool) -> pyarrow.Schema:
    """The columns of a table of embeddings, also of the file that `trimer embed` writes.

    row: number of the record, from 1. length: tokens without `<cls>` and `<eos>`. embedding: D numbers, or a list of D
    numbers for each position; null if there is none. reason: why there is none.
    """
    import pyarrow as pa

    vector = pa.list_(pa.float32())
    kind = pa.list_(vector) if per_position else vector
    columns = [("row", pa.int64()), ("id", pa.string()), ("length", pa.int64()), ("embedding", kind)]
    return pa.schema([*columns, ("reason", pa.string())])


class Embeddings:
    """Vectors of n records, in order.

    ids: n names. vectors: (n, D), or n arrays (D,) or (L, D), or None for records without a vector.
    reasons: n texts, why a record has no vector, or None. lengths: n numbers of tokens; by default known only for
    vectors of each position.
    """

    def __init__(
        self,
        ids: Sequence[str],
        vectors: np.ndarray | Sequence[np.ndarray | None],
        reasons: Sequence[str | None] | None = None,
        lengths: Sequence[int] | None = None,
    ):
        self.ids = [str(name) for name in ids]
        self.vectors: list[np.ndarray | None] = [None if row is None else np.asarray(row) for row in vectors]
        self.reasons = list(reasons) if reasons is not None else [None] * len(self.ids)
        if not len(self.ids) == len(self.vectors) == len(self.reasons):
            raise ValueError(f"{len(self.ids)} ids, {len(self.vectors)} vectors and {len(self.reasons)} reasons")
        self.vectors = [None if why else row for row, why in zip(self.vectors, self.reasons, strict=True)]
        if lengths is not None and len(lengths) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids and {len(lengths)} lengths")
        self.lengths: list[int | None] = (
            [len(row) if row is not None and row.ndim == 2 else None for row in self.vectors]
            if lengths is None
            else list(lengths)
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """D, the length of a vector; 0 if no record has one."""
        return next((row.shape[-1] for row in self.vectors if row is not None), 0)

    @property
    def per_position(self) -> bool:
        """Whether records have a vector for each position."""
        return any(row is not None and row.ndim == 2 for row in self.vectors)

    def __repr__(self) -> str:
        missing = sum(row is None for row in self.vectors)
        what = "a vector for each position of" if self.per_position else "a vector for each of"
        without = f", {missing:,} without" if missing else ""
        return f"Embeddings: {what} {counted(len(self), 'records')}{without}; {self.width} values in a vector"

    def _repr_html_(self) -> str:
        rows = [self._row(row) for row in range(min(len(self), 20))]
        names = [name for name in ("id", "positions", "vector", "reason") if any(row[name] is not None for row in rows)]
        return html_table(rows, names, len(self), f"records, vectors of {self.width} values", drawn=())

    def _row(self, row: int) -> dict[str, Any]:
        vector = self.vectors[row]
        positions = len(vector) if vector is not None and vector.ndim == 2 else None
        shown = None if vector is None else vector.ravel()[:5].tolist()
        return {"id": self.ids[row], "positions": positions, "vector": shown, "reason": self.reasons[row]}

    def to_numpy(self) -> np.ndarray:
        """(n, D), NaN for records without a vector; with vectors for each position, n objects: (L, D) or None."""
        if self.per_position:
            out = np.full(len(self), None, object)
            for row, vector in enumerate(self.vectors):
                out[row] = vector
            return out
        dtype = next((row.dtype for row in self.vectors if row is not None), np.dtype(np.float32))
        matrix = np.full((len(self), self.width), np.nan, dtype)
        for row, vector in enumerate(self.vectors):
            if vector is not None:
                matrix[row] = vector
        return matrix

    def to_pandas(self) -> pandas.DataFrame:
        """Columns `id`, `reason` and one for each value (`0`, `1`, ...); a row for each record or position."""
        import pandas

        if not self.per_position:
            head = pandas.DataFrame({"id": self.ids, "reason": pandas.Series(self.reasons, dtype=object)})
            return head.join(pandas.DataFrame(self.to_numpy(), columns=[str(index) for index in range(self.width)]))
        empty = np.full((1, self.width), np.nan, np.float32)
        blocks = [empty if vector is None else vector for vector in self.vectors]
        heads = [
            (name, reason, None if vector is None else position)
            for name, reason, vector, block in zip(self.ids, self.reasons, self.vectors, blocks, strict=True)
            for position in range(1, len(block) + 1)
        ]
        head = pandas.DataFrame(heads, columns=["id", "reason", "position"])
        values = np.concatenate(blocks) if blocks else np.zeros((0, self.width))
        return head.join(pandas.DataFrame(values, columns=[str(index) for index in range(self.width)]))

    def to_arrow(self) -> pyarrow.Table:
        """The columns of the file that `trimer embed` writes: `row`, `id`, `length`, `embedding` and `reason`."""
        import pyarrow

        from trimer.results.vector_columns import vector_column

        rows = np.arange(1, len(self) + 1)
        columns = [rows, self.ids, self.lengths, vector_column(self.vectors, self.per_position), self.reasons]
        return pyarrow.table(columns, schema=embedding_schema(self.per_position))

    def plot(self, labels: Sequence[Any] | None = None, ax: Any = None) -> Any:
        """Plot the first two principal components of the vectors, averaged over positions if there are several.

        labels: n values for the colours of the points: numbers or group names. Returns the matplotlib axes.
        """
        from trimer.results.plots import plot_components

        usable = [row for row, vector in enumerate(self.vectors) if vector is not None]
        if len(usable) < 3:
            raise InputError(f"{len(usable)} of {len(self)} records have a vector: a plot needs at least 3")
        if labels is not None and len(labels) != len(self):
            raise ValueError(f"{len(labels)} labels for {len(self)} records")
        vectors = [self.vectors[row] for row in usable]
        matrix = np.stack([v if v.ndim == 1 else v.mean(axis=0) for v in vectors if v is not None])
        return plot_components(matrix, None if labels is None else [labels[row] for row in usable], ax)
