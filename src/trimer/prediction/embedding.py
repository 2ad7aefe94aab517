"""Vectors of sequences from an encoder: one a sequence, or one a token of it, in the order of the input.

Shapes: T tokens of a flat batch, B sequences, L residues of one, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from trimer.data.core.store import Ragged
from trimer.errors import ConfigError, InputError
from trimer.files import written
from trimer.flat import Flat

POOLING = ("mean", "cls", "residue")
VALUES = 2**26  # numbers of a row group, unless one record has more: 256 MB


@torch.inference_mode()
def embed(
    net: nn.Module,
    tokens: Ragged,
    pooling: str = "mean",
    layer: int | None = None,
    tokens_per_batch: int | None = None,
    lay: Callable[[range], Flat] | None = None,
) -> Iterator[np.ndarray]:
    """A float32 array for each sequence: (D,) for "mean" (over residues) and "cls", (L, D) for "residue".

    tokens: sequences `<cls>` ... `<eos>`. layer: how many layers to go through, by default all, with the final norm.
    A batch has about tokens_per_batch tokens, by default `budget` of the device, or one longer sequence; the result
    does not depend on it. lay: makes the batch of some rows, where there is more to a sequence than its tokens.
    """
    device = next(net.parameters()).device
    for rows in batches(tokens.lengths, tokens_per_batch or budget(device)):
        flat = (Flat.pack([tokens[row] for row in rows]) if lay is None else lay(rows)).to(device)
        hidden = net.hidden(flat, layer).float()
        yield from host_vectors(hidden, flat, pooling)


def budget(device: torch.device) -> int:
    """Tokens of a batch: many on a GPU, and on a processor so few that its caches hold what a layer writes."""
    if device.type != "cpu":
        return 32768
    return 2048 if torch.is_autocast_enabled("cpu") else 1024


def host_vectors(hidden: Tensor, flat: Flat, pooling: str) -> list[np.ndarray]:
    """What is kept of the hidden states (T, D) of each sequence, in host memory by one copy of the batch."""
    if pooling == "residue":
        return [part[1:-1] for part in np.split(hidden.cpu().numpy(), np.cumsum(flat.sizes)[:-1])]
    return list(pooled(hidden, flat, pooling).cpu().numpy())


def pooled(hidden: Tensor, flat: Flat, pooling: str) -> Tensor:
    """(B, D) one vector for each sequence of the hidden states (T, D): that of `<cls>`, or the mean of the others."""
    ends = flat.lengths.cumsum(0)
    starts = ends - flat.lengths
    if pooling == "cls":
        return hidden[starts]
    sums = torch.cat([hidden.new_zeros(1, hidden.shape[1], dtype=torch.float64), hidden.double().cumsum(0)])
    inner = sums[ends - 1] - sums[starts + 1]  # without <cls> and <eos>
    return (inner / (flat.lengths - 2)[:, None]).float()


def batches(lengths: np.ndarray, tokens_per_batch: int) -> Iterator[range]:
    """Consecutive rows that fill the budget."""
    start, filled = 0, 0
    for row, length in enumerate(lengths.tolist()):
        if filled and filled + length > tokens_per_batch:
            yield range(start, row)
            start, filled = row, 0
        filled += length
    if filled:
        yield range(start, len(lengths))


def offsets_of(counts: Sequence[int]) -> pa.Array:
    """(n + 1,) int32 offsets of n lists of so many values; pyarrow.ArrowInvalid beyond 2^31 values."""
    return pa.array(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), pa.int32())


class EmbeddingFile:
    """A Parquet file with `row`, `id`, `length`, `embedding` and `reason`: a row for every record of the input.

    embedding: float32, a list of D numbers, or of L such lists for residues; null where there is none, and then the
    reason says why. While it is being written the file is called `<output>.partial`.
    """

    def __init__(self, output: str | Path, pooling: str, what: str = "proteins"):
        self.path = Path(output).expanduser()
        if pooling not in POOLING:
            raise ConfigError(f"pooling={pooling} must be one of {', '.join(POOLING)}")
        if self.path.suffix.lower() != ".parquet":
            raise ConfigError(f"output={output}: embeddings are written to a .parquet file")
        if not self.path.parent.is_dir():
            raise InputError(f"output={output}: the folder {self.path.parent} does not exist; make it first")
        self.by_residue = pooling == "residue"
        self._file = written(self.path, self.path.name + ".partial")
        self.what = what
        self.rows = self.without = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> EmbeddingFile:
        self.partial = self._file.__enter__()
        return self

    def add(
        self,
        ids: Sequence[str],
        lengths: Sequence[int],
        vectors: Iterable[np.ndarray | None],
        reasons: Sequence[str | None],
    ) -> None:
        """The next records of the input, each with a vector or with the reason why there is none.

        vectors may be made while they are asked for: they are written as soon as there are `VALUES` numbers.
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
        """A row group of (id, length, vector or None, reason)."""
        ids, lengths, vectors, reasons = zip(*records, strict=True)
        if self._writer is None:
            kind = pa.list_(pa.list_(pa.float32())) if self.by_residue else pa.list_(pa.float32())
            columns = [("row", pa.int64()), ("id", pa.string()), ("length", pa.int64()), ("embedding", kind)]
            self._writer = pq.ParquetWriter(self.partial, pa.schema([*columns, ("reason", pa.string())]))
        without = np.array([vector is None for vector in vectors])
        found = [vector for vector in vectors if vector is not None]
        values: pa.Array = pa.array(np.concatenate([v.ravel() for v in found]) if found else [], pa.float32())
        if self.by_residue:
            width = found[0].shape[1] if found else 1
            values = pa.ListArray.from_arrays(offsets_of([width] * sum(map(len, found))), values)
        counts = [0 if vector is None else len(vector) for vector in vectors]  # residues, or numbers of one vector
        column = pa.ListArray.from_arrays(offsets_of(counts), values, mask=pa.array(without))
        rows = range(self.rows + 1, self.rows + len(records) + 1)
        table = pa.table([list(rows), ids, lengths, column, reasons], schema=self._writer.schema)
        self._writer.write_table(table)
        self.rows += len(records)
        self.without += int(without.sum())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._file.__exit__(kind, error, trace)

    def summary(self) -> str:
        """One line for the user."""
        without = f", {self.without:,} without one (column reason says why)" if self.without else ""
        return f"{self.rows - self.without:,} of {self.rows:,} {self.what} embedded{without}: {self.path}"
