"""The progress of a training in optimizer steps: remaining time, loss, learning rate and tokens per second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar

from trimer.progress import Display

# Metrics of the progress bar, in the order in which they are shown: name -> format.
SHOWN = {
    "train/loss": "loss {:.4g}",
    "lr": "lr {:.1e}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "val/loss": "val loss {:.4g}",
    "mfu": "{:.1%} of peak",
}


class TrainingProgress(ProgressBar):
    """Shows `train: step 312/900, ETA 0:12:33, loss 2.31, lr 6.0e-05, 12,345 tokens/s`.

    Metrics are read after a logging step only, when the task has fetched them from the device already, so the display
    never waits for the device. It has no state in a checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._display: Display | None = None
        self._metrics_step = -1  # of the metrics that are shown
        self._details: list[str] = []

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    # ---------------------------------------------------------------- training

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._metrics_step, self._details = trainer.global_step, []
        self._open("train", total_steps(trainer), "step", trainer.global_step)

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch, batch_idx: int) -> None:
        """Show the steps so far; the metrics of a step are known when the next one starts."""
        self._show_steps(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._show_steps(trainer)
        self._close()

    def _show_steps(self, trainer: Any) -> None:
        if self._display is None:
            return
        step = trainer.global_step
        if step != self._metrics_step and step % trainer.log_every_n_steps == 0:
            self._metrics_step = step
            self._details = describe(trainer.progress_bar_metrics)
        epochs = trainer.max_epochs or 0
        epoch = [f"epoch {min(trainer.current_epoch + 1, epochs)}/{epochs}"] if epochs > 1 else []
        self._display.update(step, epoch + self._details)

    # ---------------------------------------------------------------- validation, test, prediction

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._open("validate", batches(trainer.num_val_batches), "batches")
        else:
            self._show_steps(trainer)

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._display is None:
            return
        if trainer.state.fn == "validate":
            self._display.advance()
            return
        total = batches(trainer.num_val_batches)
        position = f"{batch_idx + 1:,}" if total is None else f"{batch_idx + 1:,}/{total:,}"
        self._display.update(trainer.global_step, [f"validation batch {position}"])

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._close()

    def on_test_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._open("test", batches(trainer.num_test_batches), "batches")

    def on_test_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        self._advance()

    def on_test_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._close()

    def on_predict_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._open("predict", batches(trainer.num_predict_batches), "batches")

    def on_predict_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        self._advance()

    def on_predict_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._close()

    # ---------------------------------------------------------------- the display

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._close()

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self._close()

    def _open(self, name: str, total: int | None, unit: str, done: int = 0) -> None:
        self._close()
        if self._enabled and self.trainer.is_global_zero:
            self._display = Display(name, total, unit, done).__enter__()

    def _advance(self) -> None:
        if self._display is not None:
            self._display.advance()

    def _close(self) -> None:
        if self._display is not None:
            self._display.__exit__()
            self._display = None


def describe(metrics: Mapping[str, float]) -> list[str]:
    """`loss 2.31`, `lr 6.0e-05`, `12,345 tokens/s`: the metrics that are there."""
    return [form.format(float(metrics[name])) for name, form in SHOWN.items() if name in metrics]


def batches(counts: int | float | list[int | float]) -> int | None:
    """Batches of all data loaders; None if one of them has no end."""
    total = sum(counts) if isinstance(counts, list) else counts
    return int(total) if math.isfinite(total) else None


def total_steps(trainer: L.Trainer) -> int | None:
    """Optimizer steps of the whole training; None if only its time is limited."""
    steps = trainer.estimated_stepping_batches
    return int(steps) if math.isfinite(steps) and steps >= 0 else None
