"""Plan of static batches, for devices that need one shape: rows of a fixed length, packed once.

Sequences share a row during the whole training; the rows of a batch are drawn again in every epoch. So the number of
batches and their shape never change, every sequence occurs once in an epoch, and, as with `EpochPlan`, a count of
batches is enough to resume.

Shapes: n sequences, D sides: 1, or 2 for source and target. N packed rows, K batches of R rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trimer.data.core.packing import pack
from trimer.data.core.sampler import BatchKey
from trimer.errors import ConfigError

log = logging.getLogger(__name__)

STEP = 128  # candidate row lengths are multiples of the width of a TPU's registers
FILLED = 0.97  # fraction of real tokens at which a row length is good enough
SAMPLE = 2000  # sequences on which row lengths are compared
SPREAD = 2  # a row may hold this many times the average number of sequences


@dataclass(frozen=True)
class Shape:
    """Batch shape. rows: R. lengths: (D,) tokens of a row. slots: sequences of a batch, plus one for padding."""

    rows: int
    lengths: tuple[int, ...]
    slots: int

    @property
    def tokens(self) -> int:
        """Number of tokens of source and target, including padding."""
        return self.rows * sum(self.lengths)


class StaticPlan:
    """The batches of every epoch, all of one shape; replaces `EpochPlan`.

    lengths: (n,) tokens of each sequence, or (n, 2) of source and target. tokens_per_batch: maximum, including padding,
    unless one row is longer. row_length: tokens of a row (of the source, if there is a target); null for the shortest
    that can be filled well. growth: factor by which a sequence can grow when it is loaded. chips: number of devices
    that share a batch, each with tokens_per_batch tokens and the same number of rows. Other arguments: see `EpochPlan`.
    ConfigError if a sequence is longer than row_length, or if there are too few sequences.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        tokens_per_batch: int,
        *,
        row_length: int | None = None,
        growth: float = 1.0,
        rows: np.ndarray | None = None,
        seed: int = 0,
        multiple: int = 1,
        shuffle: bool = True,
        chips: int = 1,
    ):
        if not len(lengths):
            raise ConfigError("no row is left to train or evaluate on: every record was dropped, see the drop report")
        sizes = np.ceil(np.asarray(lengths).reshape(len(lengths), -1) * growth).astype(np.int64)
        self.rows = np.arange(len(sizes)) if rows is None else np.asarray(rows)
        self.seed, self.multiple, self.shuffle = seed, multiple, shuffle
        # Short and long sequences in random order.
        order = np.random.default_rng([seed, len(sizes)]).permutation(len(sizes))
        capacity = row_capacity(sizes[order], row_length, tokens_per_batch)
        row_of = np.empty(len(sizes), np.int64)
        row_of[order] = pack(sizes[order], capacity, most_in_row(sizes, capacity))
        self.members = np.argsort(row_of, kind="stable")  # sequences, row by row
        self.bounds = np.concatenate([[0], np.cumsum(np.bincount(row_of))])
        packed = len(self.bounds) - 1
        batch_rows = max(1, tokens_per_batch // int(capacity.sum())) * chips
        self.batches = batch_count(packed, batch_rows, multiple, chips)
        if packed < self.batches:
            raise ConfigError(
                f"{len(sizes)} sequences fill {packed} rows of {capacity[0]:,} tokens, fewer than {multiple} batches "
                "(trainer.accumulate_grad_batches): accumulate fewer batches, use more data or set trainer.row_length"
            )
        self.taken = self.batches
        batch_rows = rows_of_batch(packed, self.batches, chips)
        longest = int(np.diff(self.bounds).max())
        self.shape = Shape(batch_rows, tuple(capacity.tolist()), batch_rows * longest + 1)
        self.filled = float(sizes.sum() / growth / (self.batches * self.shape.tokens))
        log.info(
            "%d batches of %d rows of %s tokens, %.1f %% of them real",
            self.batches,
            batch_rows,
            " and ".join(f"{length:,}" for length in self.shape.lengths),
            100 * self.filled,
        )

    def __len__(self) -> int:
        return self.batches

    def epoch(self, epoch: int, first: int = 0, step: int = 1) -> Iterator[BatchKey]:
        """Batches first, first + step, ... of an epoch."""
        packed = np.arange(len(self.bounds) - 1)
        if self.shuffle:
            packed = np.random.default_rng([self.seed, epoch]).permutation(packed)
        cuts = np.arange(self.batches + 1) * len(packed) // self.batches  # R or R - 1 rows each
        for index in range(first, self.batches, step):
            chosen = packed[cuts[index] : cuts[index + 1]]
            groups = [self.members[self.bounds[row] : self.bounds[row + 1]] for row in chosen]
            row_of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
            update = (epoch * self.taken + index) // self.multiple
            yield BatchKey(epoch, index, self.rows[np.concatenate(groups)], update, row_of)


def batch_count(packed: int, batch_rows: int, multiple: int, chips: int = 1) -> int:
    """K for N packed rows: a multiple of `multiple`, with at most `batch_rows` rows a batch and few empty rows."""
    least = -(-packed // (batch_rows * multiple))
    counts = [count * multiple for count in range(least, least + least // 10 + 2)]
    return min(counts, key=lambda count: rows_of_batch(packed, count, chips) * count if count <= packed else 2 * packed)


def rows_of_batch(packed: int, batches: int, chips: int) -> int:
    """R for N packed rows in K batches: the same number of rows for each chip."""
    return -(-packed // (batches * chips)) * chips


def most_in_row(sizes: np.ndarray, capacity: np.ndarray) -> int:
    """Largest number of sequences in a row; rows of many short ones would increase the slots of every batch."""
    return int(np.ceil(SPREAD * (capacity / np.maximum(sizes.mean(0), 1e-9)).min()))


def row_capacity(sizes: np.ndarray, row_length: int | None, tokens_per_batch: int) -> np.ndarray:
    """(D,) tokens of a row in source and target: `row_length`, or the shortest length that can be filled well.

    sizes: (n, D), in packing order. The target has a length in proportion to the mean sizes.
    """
    mean, longest = np.maximum(sizes.mean(0), 1e-9), sizes.max(0)
    if row_length is not None:
        capacity = _capacity(row_length, mean)
        if (capacity < longest).any():
            least = int(np.ceil((longest * mean[0] / mean).max()))
            raise ConfigError(
                f"trainer.row_length={row_length}: the longest sequences do not fit into a row, set {least} or more, "
                "or null"
            )
        return capacity
    first = int(np.ceil((longest * mean[0] / mean).max() / STEP)) * STEP
    best, best_filled = _capacity(first, mean), 0.0
    sample = sizes[:SAMPLE]
    for length in range(first, 4 * first + 1, STEP):
        capacity = np.maximum(_capacity(length, mean), longest)
        if length > first and capacity.sum() > tokens_per_batch:
            break
        packed = pack(sample, capacity, most_in_row(sizes, capacity)).max() + 1
        filled = sample.sum() / (packed * capacity.sum())
        if filled > best_filled:
            best, best_filled = capacity, filled
        if filled >= FILLED:
            break
    return best


def _capacity(length: int, mean: np.ndarray) -> np.ndarray:
    """(D,) row lengths: this one for the source, that of the target in proportion, in multiples of 8."""
    return np.array([length, *(np.ceil(length * mean[1:] / mean[0] / 8).astype(np.int64) * 8)], np.int64)
