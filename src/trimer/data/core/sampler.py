"""Which rows make which batch: a pure function of (seed, epoch, batch), so that a run can stop and go on anywhere.

The rows of an epoch are shuffled and laid end to end; batch k owns the rows that start in the k-th of K equal windows
of tokens. K is the same in every epoch and a multiple of devices x accumulation, so every optimiser step sees the same
number of batches, and no state but a count of batches is needed to resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from trimer.data.core.draws import keys, uniform
from trimer.errors import ConfigError


@dataclass(frozen=True)
class BatchKey:
    """Everything that determines a batch: the noise of its rows is seeded by the epoch and the row.

    step: the optimiser step that the batch is a part of, for noise that changes during training. places: of a static
    batch, the row of the batch that each sequence belongs to.
    """

    epoch: int
    index: int
    rows: np.ndarray  # (B,) int64
    step: int = 0
    places: np.ndarray | None = None  # (B,) int64


class EpochPlan:
    """The batches of every epoch.

    lengths: (n,) tokens of each row. rows: (n,) what to call the rows, by default 0 to n - 1. tokens_per_batch: real
    tokens of a batch on average; a single batch differs from it by at most the longest row. multiple: the number of
    batches is a multiple of it.
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
    ):
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.rows = np.arange(len(self.lengths)) if rows is None else np.asarray(rows)
        if not len(self.lengths):
            raise ConfigError("there is no row to train or evaluate on: every record was dropped, see the drop report")
        self.seed = seed
        self.shuffle = shuffle
        self.multiple = multiple
        expected, least = self._totals()
        longest = int(self.lengths.max())
        self.batches = max(1, round(expected / (tokens_per_batch * multiple))) * multiple
        # A window that is at least as long as the longest row always holds the start of a row: no batch is empty.
        if self.batches > 1 and least / self.batches < longest:
            self.batches = least // longest // multiple * multiple
        if self.batches < 1:
            raise ConfigError(
                f"{len(self.lengths)} rows of {expected:,} tokens do not fill {multiple} batches (devices x "
                "trainer.accumulate_grad_batches) once: accumulate fewer batches or use more data"
            )
        self.taken = self.batches  # of each epoch; fewer where the trainer limits them

    def __len__(self) -> int:
        return self.batches

    def _totals(self) -> tuple[int, int]:
        """Tokens of an epoch: the number to be expected, and the least there can be."""
        total = int(self.lengths.sum())
        return total, total

    def order(self, epoch: int) -> np.ndarray:
        """(n,) the places 0 to n - 1 of the rows, in the order of an epoch."""
        if not self.shuffle:
            return np.arange(len(self.lengths))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))

    def epoch(self, epoch: int, first: int = 0, step: int = 1) -> Iterator[BatchKey]:
        """Batches first, first + step, ... of an epoch; while they are taken, no other rows are held in memory."""
        indices = range(first, self.batches, step)
        rows, sizes = self._part(epoch, indices)
        stop = 0
        for index, size in zip(indices, sizes, strict=True):
            start, stop = stop, stop + size
            update = (epoch * self.taken + index) // self.multiple
            yield BatchKey(epoch, index, rows[start:stop], update)

    def _part(self, epoch: int, indices: range) -> tuple[np.ndarray, list[int]]:
        """The rows of some batches of an epoch, one batch after the other, and how many rows each batch has."""
        order = self.order(epoch)
        ends = self.lengths[order]
        np.cumsum(ends, out=ends)
        bounds = np.ceil(np.arange(self.batches + 1) * (ends[-1] / self.batches)).astype(np.int64)
        cuts = np.searchsorted(ends[:-1], bounds) + 1  # a batch begins with the first row that starts in its window
        cuts[0], cuts[-1] = 0, len(order)
        places = [order[cuts[index] : cuts[index + 1]] for index in indices]
        return self.rows[np.concatenate(places or [order[:0]])], [len(part) for part in places]


class ClusterPlan(EpochPlan):
    """An epoch is every cluster once, by one of its rows, drawn by (seed, epoch, cluster): all clusters weigh the same.

    clusters: (n,) int64, equal where rows belong together. The number of batches is the same in every epoch, that of
    the tokens to be expected; the other arguments are those of EpochPlan.
    """

    def __init__(self, lengths: np.ndarray, tokens_per_batch: int, *, clusters: np.ndarray, **settings):
        self.members = np.argsort(clusters, kind="stable")  # places, cluster by cluster
        self.clusters, self.first, self.sizes = np.unique(
            np.asarray(clusters)[self.members], return_index=True, return_counts=True
        )
        super().__init__(lengths, tokens_per_batch, **settings)

    def _totals(self) -> tuple[int, int]:
        lengths = self.lengths[self.members]
        mean = np.add.reduceat(lengths, self.first) / self.sizes
        return round(mean.sum()), int(np.minimum.reduceat(lengths, self.first).sum())

    def order(self, epoch: int) -> np.ndarray:
        """(C,) the place of the row that stands for each of C clusters, in the order of an epoch."""
        drawn = uniform(keys(self.seed, epoch if self.shuffle else 0, self.clusters))
        places = self.members[self.first + (drawn * self.sizes).astype(np.int64)]
        if not self.shuffle:
            return places
        return places[np.random.default_rng([self.seed, epoch]).permutation(len(places))]


class PlannedBatches:
    """The sampler of a DataLoader: yields the BatchKeys of one epoch for one device, from wherever the run stands.

    position() says how many batches this device has taken since the run began; it is asked at the start of each epoch.
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
    """(epoch, batches of it already taken) of a Lightning trainer: at the start, after a resume and between epochs.

    `total.processed` counts every batch that has been trained on, wherever in the loop the checkpoint was written.
    """
    taken = trainer.fit_loop.epoch_loop.batch_progress.total.processed
    return divmod(taken, batches_of_epoch(trainer, batches))


def batches_of_epoch(trainer, batches: int) -> int:
    """How many of the batches of this device the trainer takes in an epoch, at least 1."""
    limit = trainer.limit_train_batches
    return max(min(batches, limit) if isinstance(limit, int) else int(batches * limit), 1)
