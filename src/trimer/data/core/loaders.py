"""A DataLoader over planned batches: the loader yields whole flat batches, and knows where a resumed run stands."""

from __future__ import annotations

import signal

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from trimer.data.core.sampler import ClusterPlan, EpochPlan, PlannedBatches, batches_of_epoch, training_position
from trimer.data.core.static_batches import StaticBatches
from trimer.data.core.static_plan import StaticPlan
from trimer.errors import ConfigError
from trimer.signals import HANGUP


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
    """Batches of some rows, in a new order every epoch; lengths: (n,) tokens of each of these rows, or (n, 2) of sides.

    clusters: (n,) numbers; where they are given, an epoch takes one row of each cluster. A trainer with a row_length
    gets batches of one shape.
    """
    multiple = trainer.world_size * trainer.accumulate_grad_batches
    settings = {"rows": rows, "seed": seed, "multiple": multiple, "shuffle": shuffle}
    if _needs_one_shape(trainer):
        if clusters is not None:
            raise ConfigError(
                "trainer=tpu packs the rows of an epoch once, and data with clusters draw others in each: train on "
                "data without clusters, or with trainer=cpu or trainer=gpu"
            )
        plan, dataset = _static(dataset, lengths, tokens_per_batch, trainer, **settings)
    elif clusters is None:
        plan = EpochPlan(_whole(lengths), tokens_per_batch, **settings)
    else:
        plan = ClusterPlan(_whole(lengths), tokens_per_batch, clusters=clusters, **settings)
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
    settings = {"rows": rows, "multiple": trainer.world_size, "shuffle": False}
    if _needs_one_shape(trainer):
        plan, dataset = _static(dataset, lengths, tokens_per_batch, trainer, **settings)
    else:
        plan = EpochPlan(_whole(lengths), tokens_per_batch, **settings)
    sampler = PlannedBatches(plan, None, trainer.global_rank, trainer.world_size)
    return _loader(dataset, sampler, trainer, num_workers)


def _needs_one_shape(trainer: L.Trainer) -> bool:
    return hasattr(trainer, "row_length")


def _static(dataset: Dataset, lengths: np.ndarray, tokens_per_batch: int, trainer: L.Trainer, **settings):
    """The plan and the dataset of batches of one shape."""
    growth = getattr(dataset, "growth", 1.0)
    if lengths.ndim == 2:
        lengths = lengths - np.array([0, 1])  # the decoder reads all but the last token of a target
    plan = StaticPlan(lengths, tokens_per_batch, row_length=trainer.row_length, growth=growth, **settings)
    return plan, StaticBatches(dataset, plan.shape)


def _whole(lengths: np.ndarray) -> np.ndarray:
    """(n,) tokens of each row, of all sides."""
    return lengths if lengths.ndim == 1 else lengths.sum(1)


def _leave_signals_to_the_main_process(worker: int) -> None:
    """A queue signals all processes of a job, and a worker that dies ends the run before its checkpoint is written.

    The second SIGTERM ends the worker: it is how the main process ends one that hangs.
    """
    for number in (signal.SIGINT, *HANGUP):
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
