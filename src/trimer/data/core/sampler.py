"""Plans of batches: a pure function of (seed, epoch, batch), so that a run can stop and resume at any batch.

The rows of an epoch are shuffled and concatenated; batch k takes the rows that start in the k-th of K equal windows of
tokens. K is the same in every epoch and a multiple of devices x accumulation, so every optimiser step has the same
number of batches, and a count of batches is enough to resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimer.data.core.draws import keys, uniform
from trimer.data.core.mapped import collected, numbered, ranges
from trimer.errors import ConfigError


@dataclass(frozen=True)
class BatchKey:
    """Everything that determines a batch; the noise of its rows is seeded by the epoch and the row.

    step: the optimiser step that uses the batch, for noise that changes during training. row_of: for a static batch,
    the row of the batch that each sequence belongs to.
    """

    epoch: int
    index: int
    rows: np.ndarray  # (B,) int64
    step: int = 0
    row_of: np.ndarray | None = None  # (B,) int64


class EpochPlan:
    """The batches of every epoch, each with about the same number of tokens.

    lengths: (n,) tokens of each row. rows: (n,) row numbers in the dataset, by default 0 to n - 1. tokens_per_batch:
    mean number of real tokens in a batch; a single batch differs from it by at most the longest row. multiple: the
    number of batches is a multiple of this. folder: where the order of many rows is a file that is mapped into memory
    (`trimer.data.core.mapped`); None: it is in memory, 4 bytes a row.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        tokens_per_batch: int,
        *,
        rows: np.ndarray | None = None,
        seed: int = 0,
        multiple: int = 1,
        shuffle: bool = True,
        folder: Path | None = None,
    ):
        self.folder = folder
        self.lengths = smallest(np.asarray(lengths))
        self.rows = smallest(np.arange(len(self.lengths)) if rows is None else np.asarray(rows))
        if not len(self.lengths):
            raise ConfigError("no row is left to train or evaluate on: every record was dropped, see the drop report")
        self.seed = seed
        self.shuffle = shuffle
        self.multiple = multiple
        expected, least = self._totals()
        longest = int(self.lengths.max())
        self.batches = max(1, round(expected / (tokens_per_batch * multiple))) * multiple
        # A window at least as long as the longest row always contains the start of a row, so no batch is empty.
        if self.batches > 1 and least / self.batches < longest:
            self.batches = least // longest // multiple * multiple
        if self.batches < 1:
            raise ConfigError(
                f"{len(self.lengths)} rows of {expected:,} tokens do not fill {multiple} batches (devices x "
                "trainer.accumulate_grad_batches) once: accumulate fewer batches or use more data"
            )
        self.taken = self.batches  # batches of an epoch that the trainer uses; fewer if it limits them

    def __len__(self) -> int:
        return self.batches

    def _totals(self) -> tuple[int, int]:
        """Expected and smallest possible number of tokens in an epoch."""
        total = int(self.lengths.sum(dtype=np.int64))
        return total, total

    def order(self, epoch: int) -> np.ndarray:
        """(n,) indices of the rows, 0 to n - 1, in the order of an epoch."""
        order = numbered(len(self.lengths), self.folder)
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(order)  # as `permutation` draws it
        return order

    def epoch(self, epoch: int, first: int = 0, step: int = 1) -> Iterator[BatchKey]:
        """Batches first, first + step, ... of an epoch; rows of other batches are not kept in memory."""
        indices = range(first, self.batches, step)
        chosen, sizes = self._rows_of_batches(epoch, indices)
        stop = 0
        for index, size in zip(indices, sizes, strict=True):
            start, stop = stop, stop + size
            update = (epoch * self.taken + index) // self.multiple
            yield BatchKey(epoch, index, self.rows[chosen[start:stop]].astype(np.int64), update)

    def _rows_of_batches(self, epoch: int, indices: range) -> tuple[np.ndarray, list[int]]:
        """The concatenated indices of the rows of some batches of an epoch, and the number of rows of each batch."""
        order = self.order(epoch)
        parts = [order[part.start : part.stop] for part in ranges(len(order))]
        total = sum(int(self.lengths[part].sum(dtype=np.int64)) for part in parts)
        bounds = np.ceil(np.arange(self.batches + 1) * (total / self.batches)).astype(np.int64)
        # A batch begins with the first row that starts in its window.
        cuts, before = np.ones(self.batches + 1, np.int64), 0
        for part in parts:
            ends = before + np.cumsum(self.lengths[part], dtype=np.int64)
            before = int(ends[-1])
            cuts += np.searchsorted(ends[:-1] if part is parts[-1] else ends, bounds)
        cuts[0], cuts[-1] = 0, len(order)
        sizes = np.diff(cuts)[indices.start :: indices.step].tolist() if indices else []
        if indices.step == 1:
            return order[cuts[indices.start] :] if indices else order[:0], sizes
        return collected((order[cuts[index] : cuts[index + 1]] for index in indices), order.dtype, self.folder), sizes


class ClusterPlan(EpochPlan):
    """Batches with one row of each cluster in every epoch, so that all clusters have the same weight.

    The row is drawn by (seed, epoch, cluster). clusters: (n,) int64, equal for rows of one cluster. The number of
    batches is the same in every epoch and follows from the expected number of tokens. Other arguments: see EpochPlan.
    """

    def __init__(self, lengths: np.ndarray, tokens_per_batch: int, *, clusters: np.ndarray, **settings):
        self.members = smallest(np.argsort(clusters, kind="stable"))  # row indices, cluster by cluster
        self.clusters, self.first, self.sizes = np.unique(
            np.asarray(clusters)[self.members], return_index=True, return_counts=True
        )
        super().__init__(lengths, tokens_per_batch, **settings)

    def _totals(self) -> tuple[int, int]:
        lengths = self.lengths[self.members].astype(np.int64)
        mean = np.add.reduceat(lengths, self.first) / self.sizes
        return round(mean.sum()), int(np.minimum.reduceat(lengths, self.first).sum())

    def order(self, epoch: int) -> np.ndarray:
        """(C,) index of the row drawn from each of C clusters, in the order of an epoch."""
        drawn = uniform(keys(self.seed, epoch if self.shuffle else 0, self.clusters))
        chosen = self.members[self.first + (drawn * self.sizes).astype(np.int64)]
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(chosen)
        return chosen


def smallest(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers with 4 bytes each if they fit: a rank holds those of all rows, and there may be 100 million."""
    if len(numbers) and numbers.dtype == np.int64 and numbers.min() >= 0 and numbers.max() < 2**31:
        return numbers.astype(np.int32)
    return numbers


class PlannedBatches:
    """Sampler of a DataLoader: yields the BatchKeys of one epoch for one device, starting where the run is.

    position() returns the epoch and the number of its batches that this device has used; called at each epoch start.
    """

    def __init__(
        self, plan: EpochPlan, position: Callable[[], tuple[int, int]] | None = None, rank: int = 0, world: int = 1
    ):
        self.plan = plan
        self.position = position or (lambda: (0, 0))
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        return len(range(self.rank, len(self.plan), self.world))

    def __iter__(self) -> Iterator[BatchKey]:
        epoch, batch = self.position()
        return self.plan.epoch(epoch, first=self.rank + batch * self.world, step=self.world)


def training_position(trainer, batches: int) -> tuple[int, int]:
    """(epoch, number of its batches already used) of a Lightning trainer: at the start, after a resume, between epochs.

    `total.processed` counts every batch used for training, wherever in the loop the checkpoint was written.
    """
    processed = trainer.fit_loop.epoch_loop.batch_progress.total.processed
    return divmod(processed, batches_of_epoch(trainer, batches))


def batches_of_epoch(trainer, batches: int) -> int:
    """Number of batches of this device that the trainer uses in an epoch, at least 1."""
    limit = trainer.limit_train_batches
    return max(min(batches, limit) if isinstance(limit, int) else int(batches * limit), 1)
