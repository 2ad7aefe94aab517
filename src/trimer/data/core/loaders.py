"""DataLoaders over planned batches: they yield whole batches and continue a resumed run at the right batch."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from trimer.data.core.sampler import ClusterPlan, EpochPlan, PlannedBatches, batches_of_epoch, training_position
from trimer.data.core.static_batches import StaticBatches
from trimer.data.core.static_plan import StaticPlan
from trimer.errors import ConfigError
from trimer.signals import WARNINGS

log = logging.getLogger(__name__)


def check_loading(tokens_per_batch: int, num_workers: int, seed: int) -> None:
    """Raise ValueError for invalid loader settings; data modules call this when they are created."""
    if tokens_per_batch < 1:
        raise ValueError(f"tokens_per_batch={tokens_per_batch} must be 1 or more")
    if num_workers < 0:
        raise ValueError(f"num_workers={num_workers} must be 0 (load in this process) or more")
    if seed < 0:
        raise ValueError(f"seed={seed} must be 0 or more")


def training_loader(
    dataset: Dataset,
    lengths: np.ndarray,
    rows: np.ndarray,
    tokens_per_batch: int,
    *,
    trainer: L.Trainer,
    seed: int,
    num_workers: int,
    shuffle: bool = True,
    clusters: np.ndarray | None = None,
    folder: Path | None = None,
) -> DataLoader:
    """DataLoader of training batches, in a new order every epoch.

    rows: (n,) rows of the dataset. lengths: (n,) tokens of each row, or (n, 2) of source and target. clusters: (n,)
    numbers, or None; with clusters, an epoch takes one row of each cluster. folder: for the order of many rows, see
    `EpochPlan`. A trainer with a row_length gets static batches, all of one shape.
    """
    multiple = trainer.world_size * trainer.accumulate_grad_batches
    settings: dict[str, Any] = {"rows": rows, "seed": seed, "multiple": multiple, "shuffle": shuffle}
    if _needs_one_shape(trainer):
        if clusters is not None:
            raise ConfigError(
                "trainer=tpu and trainer=gpu_static pack the rows once for all epochs, but data with clusters draw new "
                "rows in each epoch: use data without clusters, or trainer=cpu or trainer=gpu"
            )
        plan, dataset = _static(dataset, lengths, tokens_per_batch, trainer, **settings)
    elif clusters is None:
        plan = EpochPlan(_total_lengths(lengths), tokens_per_batch, folder=folder, **settings)
    else:
        plan = ClusterPlan(_total_lengths(lengths), tokens_per_batch, clusters=clusters, folder=folder, **settings)
    sampler = PlannedBatches(plan, None, trainer.global_rank, trainer.world_size)
    use_one_batch(trainer, "limit_train_batches", len(sampler))
    sampler.position = lambda: training_position(trainer, len(sampler))
    plan.taken = batches_of_epoch(trainer, len(sampler)) * trainer.world_size
    return _loader(dataset, sampler, trainer, num_workers)


def evaluation_loader(
    dataset: Dataset,
    lengths: np.ndarray,
    rows: np.ndarray,
    tokens_per_batch: int,
    *,
    trainer: L.Trainer,
    num_workers: int,
) -> DataLoader:
    """DataLoader of every row once, in order; each device gets the same number of batches."""
    settings: dict[str, Any] = {"rows": rows, "multiple": trainer.world_size, "shuffle": False}
    if _needs_one_shape(trainer):
        plan, dataset = _static(dataset, lengths, tokens_per_batch, trainer, **settings)
    else:
        plan = EpochPlan(_total_lengths(lengths), tokens_per_batch, **settings)
    sampler = PlannedBatches(plan, None, trainer.global_rank, trainer.world_size)
    split = "test" if trainer.testing else "predict" if trainer.predicting else "val"
    use_one_batch(trainer, f"limit_{split}_batches", len(sampler))
    return _loader(dataset, sampler, trainer, num_workers)


def use_one_batch(trainer: L.Trainer, name: str, batches: int) -> None:
    """Replace a limit that is a fraction of less than one batch by one batch; Lightning would end with an error."""
    limit = getattr(trainer, name)
    if isinstance(limit, float) and 0 < limit * batches < 1:
        log.info("trainer.%s=%s of %d batches is less than one: one batch is used", name, limit, batches)
        setattr(trainer, name, 1)


def _needs_one_shape(trainer: L.Trainer) -> bool:
    return hasattr(trainer, "row_length")


def _static(dataset: Dataset, lengths: np.ndarray, tokens_per_batch: int, trainer: L.Trainer, **settings):
    """The plan and the dataset of static batches (all of one shape)."""
    growth = getattr(dataset, "growth", 1.0)
    if lengths.ndim == 2:
        lengths = lengths - np.array([0, 1])  # the decoder reads all but the last token of a target
    row_length = getattr(trainer, "row_length", None)
    chips = getattr(trainer, "chips", 1)
    plan = StaticPlan(lengths, tokens_per_batch, row_length=row_length, growth=growth, chips=chips, **settings)
    return plan, StaticBatches(dataset, plan.shape)


def _total_lengths(lengths: np.ndarray) -> np.ndarray:
    """(n,) tokens of each row, summed over source and target."""
    return lengths if lengths.ndim == 1 else lengths.sum(1)


def _leave_signals_to_the_main_process(worker: int) -> None:
    """Make a worker process ignore the signals that end a run.

    A job queue signals all processes of a job; a worker that dies at once would end the run before the checkpoint is
    written. The second SIGTERM ends the worker: this is how the main process ends a worker that hangs.
    """
    for number in (signal.SIGINT, *WARNINGS):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _loader(dataset: Dataset, sampler: PlannedBatches, trainer: L.Trainer, num_workers: int) -> DataLoader:
    return DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=trainer.strategy.root_device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_main_process,
        # Without its own generator, the worker seeds would be drawn from the random state that dropout uses.
        generator=torch.Generator().manual_seed(0),
    )
