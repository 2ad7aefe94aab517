"""Embeddings in responses and jobs: a row for each sequence, kept chunks, and files that are written row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.files import write_csv
from trimer.prediction.embedder import Embedder
from trimer.prediction.partial import Partial
from trimer.prediction.predictor import Prediction
from trimer.prediction.workers import Compute
from trimer.serving.plain_json import json_text

if TYPE_CHECKING:
    from trimer.data.core.label_table import LabelTable

EMBEDDING_COLUMNS = ("row", "id", "length", "embedding", "reason")
ROWS = 1000  # of a row group of a Parquet file


def embedded_rows(
    embedder: Embedder, tables: Iterable[LabelTable], compute: Compute, check: Callable[[int], None]
) -> Iterator[Prediction]:
    """One row for each sequence, with its vector, its vectors by residue, or a reason.

    check: raises an error if the number of numbers so far is above a limit.
    """
    row = numbers = 0
    for chunk in embedder.embed(tables, compute):
        values: Iterable[np.ndarray | str | None] = chunk.vectors
        for name, length, value, reason in zip(chunk.ids, chunk.lengths, values, chunk.reasons, strict=True):
            numbers += getattr(value, "size", 0)
            check(numbers)
            row += 1
            failed = value if isinstance(value, str) else reason
            vector = None if value is None or isinstance(value, str) else value.tolist()
            yield [dict(zip(EMBEDDING_COLUMNS, (row, name, length, vector, failed), strict=True))]


def kept(compute: Compute, partial: Partial) -> Compute:
    """Computes the chunks of vectors that `partial` does not hold yet, and keeps them there; their order is fixed."""
    numbers = itertools.count()

    def start(inputs: list) -> Callable[[], list]:
        key = f"vectors {next(numbers)}"
        results: Callable[[], list] = list if key in partial else compute(inputs)

        def vectors() -> list:
            values = partial.once(
                key, lambda: [vector if isinstance(vector, str) else vector.tolist() for vector in results()]
            )
            return [vector if isinstance(vector, str) else np.asarray(vector, np.float32) for vector in values]

        return vectors

    return start


def write_vectors(name: str, rows: Iterable[dict[str, Any]], path: Path, by_residue: bool) -> None:
    """Write embeddings as CSV or Parquet without holding all rows. by_residue: a vector for each residue."""
    if name == "csv":
        write_csv(path, EMBEDDING_COLUMNS, (csv_row(row) for row in rows))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    vector = pa.list_(pa.float32())
    kinds = (pa.int64(), pa.string(), pa.int64(), pa.list_(vector) if by_residue else vector, pa.string())
    schema = pa.schema(list(zip(EMBEDDING_COLUMNS, kinds, strict=True)))
    remaining = iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while group := list(itertools.islice(remaining, ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def csv_row(row: dict[str, Any]) -> list[Any]:
    """The cells of a row; the vector is JSON."""
    return [json_text(row[name]) if isinstance(row[name], list) else row[name] for name in EMBEDDING_COLUMNS]
