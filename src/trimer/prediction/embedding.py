"""Embeddings of sequences from an encoder: one vector per sequence or per token, in the order of the input.

Shapes: T tokens of a flat batch, B sequences, L residues of one, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from trimer.data.core.store import Ragged
from trimer.errors import ConfigError
from trimer.files import written
from trimer.flat import Flat
from trimer.prediction.prediction_tables import output_path
from trimer.protocols import Encoder
from trimer.results.embeddings import embedding_schema
from trimer.results.vector_columns import VALUES, vector_lists

POOLING = ("mean", "cls", "residue")


def check_pooling(pooling: str) -> None:
    """ConfigError if there is no such pooling."""
    if pooling not in POOLING:
        raise ConfigError(f"pooling={pooling} must be one of {', '.join(POOLING)}")


@torch.inference_mode()
def embed(
    net: Encoder,
    tokens: Ragged,
    pooling: str = "mean",
    layer: int | None = None,
    tokens_per_batch: int | None = None,
    make_batch: Callable[[range], Flat] | None = None,
) -> Iterator[np.ndarray]:
    """A float32 array for each sequence: (D,) for "mean" (over residues) and "cls", (L, D) for "residue".

    tokens: sequences `<cls>` ... `<eos>`. layer: number of layers to apply, by default all, with the final norm.
    A batch has about tokens_per_batch tokens, by default `budget` of the device, or one longer sequence; the result
    does not depend on it. make_batch: the batch of some rows, if sequences consist of more than their tokens.
    """
    device = next(cast("nn.Module", net).parameters()).device
    for rows in batches(tokens.lengths, tokens_per_batch or budget(device)):
        flat = (Flat.pack([tokens[row] for row in rows]) if make_batch is None else make_batch(rows)).to(device)
        hidden = net.hidden(flat, layer).float()
        yield from host_vectors(hidden, flat, pooling)


def budget(device: torch.device) -> int:
    """Default tokens per batch: many on a GPU, on a CPU so few that the output of a layer fits into its caches."""
    if device.type != "cpu":
        return 32768
    return 2048 if torch.is_autocast_enabled("cpu") else 1024


def host_vectors(hidden: Tensor, flat: Flat, pooling: str) -> list[np.ndarray]:
    """The embeddings of each sequence from hidden states (T, D), copied to host memory once per batch."""
    if pooling == "residue":
        return [states[1:-1] for states in np.split(hidden.cpu().numpy(), np.cumsum(flat.sizes)[:-1])]
    return list(pooled(hidden, flat, pooling).cpu().numpy())


def pooled(hidden: Tensor, flat: Flat, pooling: str) -> Tensor:
    """(B, D) one vector per sequence from hidden states (T, D): that of `<cls>`, or the mean over the residues."""
    ends = flat.lengths.cumsum(0)
    starts = ends - flat.lengths
    if pooling == "cls":
        return hidden[starts]
    sums = torch.cat([hidden.new_zeros(1, hidden.shape[1], dtype=torch.float64), hidden.double().cumsum(0)])
    inner = sums[ends - 1] - sums[starts + 1]  # without <cls> and <eos>
    return (inner / (flat.lengths - 2)[:, None]).float()


def batches(lengths: np.ndarray, tokens_per_batch: int) -> Iterator[range]:
    """Ranges of consecutive rows with about tokens_per_batch tokens."""
    start, filled = 0, 0
    for row, length in enumerate(lengths.tolist()):
        if filled and filled + length > tokens_per_batch:
            yield range(start, row)
            start, filled = row, 0
        filled += length
    if filled:
        yield range(start, len(lengths))


class EmbeddingFile:
    """A Parquet file with the columns row, id, length, embedding and reason, and a row for every record of the input.

    embedding: float32, a list of D numbers, or a list of L such lists for residues; null if there is none, with the
    reason in the column reason. An error leaves no incomplete file.
    """

    def __init__(self, output: str | Path, pooling: str, what: str = "proteins"):
        check_pooling(pooling)
        wanted = "embeddings are written as Parquet; give a name that ends in .parquet"
        self.path = output_path(output, [".parquet"], wanted)
        self.by_residue = pooling == "residue"
        self.what = what
        self.rows = self.without = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> EmbeddingFile:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(written(self.path, one_writer=True))
            stack.push(self._close)
            self._file = stack.pop_all()
        return self

    def _close(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(
        self,
        ids: Sequence[str],
        lengths: Sequence[int],
        vectors: Iterable[np.ndarray | None],
        reasons: Sequence[str | None],
    ) -> None:
        """Add the next records of the input, each with a vector or the reason why there is none.

        vectors may be a generator: they are written as soon as there are `VALUES` numbers.
        """
        pending: list[tuple] = []
        size = 0
        for record in zip(ids, lengths, vectors, reasons, strict=True):
            added = 0 if record[2] is None else record[2].size
            if pending and size + added > VALUES:
                self._write(pending)
                pending, size = [], 0
            pending.append(record)
            size += added
        if pending:
            self._write(pending)

    def _write(self, records: list[tuple]) -> None:
        """Write a row group of (id, length, vector or None, reason)."""
        ids, lengths, vectors, reasons = zip(*records, strict=True)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._temporary, embedding_schema(self.by_residue))
        column = vector_lists(vectors, self.by_residue)
        rows = range(self.rows + 1, self.rows + len(records) + 1)
        table = pa.table([list(rows), ids, lengths, column, reasons], schema=self._writer.schema)
        self._writer.write_table(table)
        self.rows += len(records)
        self.without += column.null_count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def summary(self) -> str:
        """The summary that the command prints."""
        without = f", {self.without:,} without an embedding (see the column reason)" if self.without else ""
        return f"{self.rows - self.without:,} of {self.rows:,} {self.what} embedded{without}: {self.path}"
