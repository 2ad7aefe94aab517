"""A DataLoader over planned batches: the loader yields whole flat batches, and knows where a resumed run stands."""

from __future__ import annotations

import signal

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from trimer.data.sampler import ClusterPlan, EpochPlan, PlannedBatches, batches_of_epoch, training_position


def check_loading(tokens_per_batch: int, num_workers: int, seed: int) -> None:
    """ValueError for settings that no loader can use; a data module calls it when it is built."""
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
) -> DataLoader:
    """Batches of some rows, in a new order every epoch; lengths: (n,) tokens of each of these rows.

    clusters: (n,) numbers; where they are given, an epoch takes one row of each cluster.
    """
    multiple = trainer.world_size * trainer.accumulate_grad_batches
    settings = {"rows": rows, "seed": seed, "multiple": multiple, "shuffle": shuffle}
    if clusters is None:
        plan = EpochPlan(lengths, tokens_per_batch, **settings)
    else:
        plan = ClusterPlan(lengths, tokens_per_batch, clusters=clusters, **settings)
    sampler = PlannedBatches(plan, None, trainer.global_rank, trainer.world_size)
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
    """Every row once, in order, shared out over the devices in equal numbers of batches."""
    plan = EpochPlan(lengths, tokens_per_batch, rows=rows, multiple=trainer.world_size, shuffle=False)
    sampler = PlannedBatches(plan, None, trainer.global_rank, trainer.world_size)
    return _loader(dataset, sampler, trainer, num_workers)


def _leave_signals_to_the_main_process(worker: int) -> None:
    """A queue signals all processes of a job, and a worker that dies ends the run before its checkpoint is written.

    The second SIGTERM ends the worker: it is how the main process ends one that hangs.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
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
        # The seeds of the workers would otherwise be drawn from the random numbers that dropout uses.
        generator=torch.Generator().manual_seed(0),
    )
