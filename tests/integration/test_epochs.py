"""Schedules and losses by epoch do not depend on batch sizes, and a second fit starts from the initial state."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trimer.callbacks.early_stopping import EarlyStopping
from trimer.data.core.batches import LabelledBatch
from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.esm2 import Esm2
from trimer.optim import WarmupPlateau, adamw
from trimer.tasks.regression import Regression
from trimer.tokenizers.protein import ProteinTokenizer

PEAK = 5e-4


def rows(count: int = 8) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    tokens = [np.r_[0, rng.integers(4, 24, rng.integers(2, 20)), 2] for _ in range(count)]
    return [(sequence, np.array([[len(sequence) * 3.0]], np.float32)) for sequence in tokens]


def batches_of(examples: list, size: int) -> list[LabelledBatch]:
    """Batches of `size` rows; the last may be smaller."""
    groups = [examples[first : first + size] for first in range(0, len(examples), size)]
    return [
        LabelledBatch.of(Flat.pack([t for t, _ in group]), np.concatenate([y for _, y in group]), np.arange(len(group)))
        for group in groups
    ]


def make(lr: float = PEAK, **schedule) -> Regression:
    torch.manual_seed(0)
    schedule = {"warmup": 5, "patience": 3, "interval": "epoch", **schedule}
    task = Regression(
        Esm2(d_model=16, layers=1, heads=2), ProteinTokenizer(), partial(adamw, lr=lr, weight_decay=0.0, fused=False),
        partial(WarmupPlateau, **schedule), head={"dropout": 0.0},
    )  # fmt: skip
    labels = torch.from_numpy(np.concatenate([label for _, label in rows()]))
    data = SimpleNamespace(target="regression", classes=["y"], training_labels=lambda: labels)
    task.contract = {}
    task.configure_for(data)
    return task


class EpochRecord(L.Callback):
    """Records the learning rates and the mean training loss of each epoch."""

    def __init__(self) -> None:
        self.rates: list[set[float]] = []
        self.losses: list[float] = []

    def on_train_epoch_start(self, trainer, module) -> None:
        self.rates.append(set())

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        self.rates[-1].add(module.optimizers().param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer, module) -> None:
        self.losses.append(module.epoch_loss())


def fit(task, batches: list, epochs: int, *callbacks, **settings) -> EpochRecord:
    record = EpochRecord()
    quiet = {name: False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")}
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, num_sanity_val_steps=0, callbacks=[record, *callbacks],
        use_distributed_sampler=False, **quiet, **settings,
    )  # fmt: skip
    loaders = [DataLoader(batches, batch_size=None), DataLoader(batches, batch_size=None)]
    trainer.fit(task, *loaders)
    return record


@pytest.mark.parametrize(("size", "accumulate"), [(8, 1), (3, 1), (1, 1), (1, 4), (2, 3)])
def test_learning_rates_do_not_depend_on_batch_size_and_accumulation(size, accumulate):
    """The monitored loss does not improve; the last step of an epoch may have fewer batches."""
    task = make()
    task.validation_metrics = lambda: {"loss": 1.0}
    record = fit(task, batches_of(rows(), size), 12, accumulate_grad_batches=accumulate)
    assert all(len(rates) == 1 for rates in record.rates)
    rates = [rate * 1e4 for epoch_rates in record.rates for rate in epoch_rates]
    assert rates == pytest.approx([1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 2.5, 2.5], rel=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_training_loss_of_an_epoch_is_weighted_by_counts(size):
    """It is not a mean of the means of batches, and each epoch starts from zero."""
    undivided, divided = (make(lr=0.0, warmup=1) for _ in range(2))
    expected = fit(undivided, batches_of(rows(), 8), 2).losses
    assert fit(divided, batches_of(rows(), size), 2).losses == pytest.approx(expected, rel=1e-5)
    assert expected[0] == pytest.approx(expected[1], rel=1e-6)
    assert float(divided.trainer.callback_metrics["train/loss_epoch"]) == pytest.approx(expected[1], rel=1e-5)


def test_a_schedule_can_monitor_the_training_loss():
    record = fit(make(lr=0.0, monitor="train/loss_epoch", warmup=1, patience=0), batches_of(rows(), 3), 2)
    assert len(record.losses) == 2
    task = make(
        monitor="train/loss_epoch", warmup=2, patience=1, mode="max"
    )  # the loss decreases, so it never improves
    rates = [rate * 1e4 for epoch_rates in fit(task, batches_of(rows(), 3), 8).rates for rate in epoch_rates]
    assert rates == pytest.approx([2.5, 5, 5, 5, 5, 2.5, 2.5, 1.25])


def test_a_second_fit_resets_the_state_of_the_first():
    """The learning rate, and the reason of early stopping."""
    task, stopping = make(), EarlyStopping(patience=2)
    task.validation_metrics = lambda: {"loss": 1.0}
    for _ in range(2):
        record = fit(task, batches_of(rows(), 4), 9, stopping)
        assert [rate * 1e4 for epoch_rates in record.rates for rate in epoch_rates] == pytest.approx([1, 2, 3])
        assert (stopping.reason, stopping.bad) == ("no significant improvement", 2)


def test_a_warm_up_longer_than_the_run_raises_an_error():
    with pytest.raises(ConfigError, match=r"scheduler\.warmup=5 epochs are more than trainer\.max_epochs=4"):
        fit(make(), batches_of(rows(), 4), 4)


def test_evaluation_outside_of_a_training_does_not_change_its_metrics():
    task, batches = make(), batches_of(rows(), 3)
    task.net.train()
    before = torch.get_rng_state()
    metrics = task.evaluate(batches)
    assert {"loss", "rmse", "mae"} <= set(metrics) and task.net.training
    assert torch.equal(before, torch.get_rng_state()) and not task.collected.raw
    assert task.evaluate(batches_of(rows(), 8)) == pytest.approx(metrics, rel=1e-5)
    assert "spearman" not in task.evaluate(batches_of(rows(1), 1)), "what is not defined is left out"
