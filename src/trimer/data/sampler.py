"""Which rows make which batch: a pure function of (seed, epoch, batch), so that a run can stop and go on anywhere.

The rows of an epoch are shuffled and laid end to end; batch k owns the rows that start in the k-th of K equal windows
of tokens. K is the same in every epoch and a multiple of devices x accumulation, so every optimiser step sees the same
number of batches, and no state but a count of batches is needed to resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from trimer.errors import ConfigError


@dataclass(frozen=True)
class BatchKey:
    """Everything that determines a batch: the noise of its rows is seeded by the epoch and the row."""

    epoch: int
    index: int
    rows: np.ndarray  # (B,) int64


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
        self.total = int(self.lengths.sum())
        longest = int(self.lengths.max())
        self.batches = max(1, round(self.total / (tokens_per_batch * multiple))) * multiple
        # A window that is at least as long as the longest row always holds the start of a row: no batch is empty.
        if self.batches > 1 and self.total / self.batches < longest:
            self.batches = self.total // longest // multiple * multiple
        if self.batches < 1:
            raise ConfigError(
                f"{len(self.lengths)} rows of {self.total:,} tokens do not fill {multiple} batches (devices x "
                "trainer.accumulate_grad_batches) once: accumulate fewer batches or use more data"
            )

    def __len__(self) -> int:
        return self.batches

    def order(self, epoch: int) -> np.ndarray:
        """(n,) the places 0 to n - 1 in the order of an epoch."""
        if not self.shuffle:
            return np.arange(len(self.lengths))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))

    def epoch(self, epoch: int, first: int = 0, step: int = 1) -> Iterator[BatchKey]:
        """Batches first, first + step, ... of an epoch."""
        order = self.order(epoch)
        starts = np.cumsum(self.lengths[order]) - self.lengths[order]
        bounds = np.ceil(np.arange(self.batches + 1) * (self.total / self.batches)).astype(np.int64)
        cuts = np.searchsorted(starts, bounds)
        cuts[-1] = len(order)
        for index in range(first, self.batches, step):
            yield BatchKey(epoch, index, self.rows[order[cuts[index] : cuts[index + 1]]])


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
    limit = trainer.limit_train_batches
    per_epoch = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return divmod(trainer.fit_loop.epoch_loop.batch_progress.total.processed, max(per_epoch, 1))
