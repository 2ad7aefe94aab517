"""Stops a run when its validation metric gets worse or no longer improves, and records which of the two."""

from __future__ import annotations

import logging
from typing import Any

import lightning as L

from trimer.errors import ConfigError
from trimer.stopping_rule import FLAT, MARGIN, NOT_FINITE, PATIENCE, RISING, StoppingRule

log = logging.getLogger(__name__)

__all__ = ["FLAT", "NOT_FINITE", "RISING", "EarlyStopping"]


class EarlyStopping(StoppingRule, L.Callback):
    """Stops after `patience` bad validations in a row, or at once when the metric is NaN or infinite.

    Which validations are bad, and `monitor`, `mode`, `margin` and `min_delta`: see `StoppingRule`.
    patience: number of validations, independent of epochs. patience_multiple: use this multiple of the patience of the
    learning-rate schedule instead (at least 1), so that the rate is reduced first.
    `reason` records why a run was stopped. A resumed run stops again, unless its patience is longer.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: str = "min",
        patience: int = PATIENCE,
        patience_multiple: int | None = None,
        margin: float = MARGIN,
        min_delta: float = 0.0,
    ):
        if patience_multiple is not None and patience_multiple < 1:
            raise ConfigError(f"callbacks.early_stopping.patience_multiple={patience_multiple} must be 1 or more")
        super().__init__(monitor, mode, patience, margin, min_delta)
        self.patience_multiple = patience_multiple

    def state_dict(self) -> dict:
        return {"best": self.best, "significant": self.significant, "bad": self.bad, "reason": self.reason}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.significant = state["best"], state["significant"]
        self.bad, self.reason = state["bad"], state["reason"]

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self.reset()  # after an earlier fit; the state of a checkpoint is loaded later

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.patience_multiple is None:
            return
        patience = getattr(module.lr_schedulers(), "patience", None)
        if patience is None:
            raise ConfigError(
                "callbacks.early_stopping.patience_multiple multiplies the patience of the schedule, and this schedule "
                "has none: use scheduler=warmup_plateau, or set patience_multiple=null and a patience"
            )
        self.patience = max(self.patience_multiple * patience, 1)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.reason != NOT_FINITE and self.bad < self.patience:
            self.reason = None
        trainer.should_stop = trainer.should_stop or self.reason is not None

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        """Request a stop; a validation within an accumulated step ends the run after that step, in the task."""
        trainer.should_stop = trainer.should_stop or self.reason is not None

    def on_validation_end(self, trainer: Any, module: L.LightningModule) -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking and not trainer.fast_dev_run
        if not fitting or self.reason is not None:
            return
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.monitor not in metrics:
            names = ", ".join(sorted(metrics))
            raise ConfigError(
                f"callbacks.early_stopping.monitor={self.monitor} is not a validation metric; there are {names}"
            )
        value = float(metrics[self.monitor])
        if self.update(value) is None:
            return
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            trainer.should_stop = True
        sign = 1 if self.mode == "min" else -1
        best = "none" if self.best is None else f"{sign * self.best:.6g}"
        log.info(
            "stopped early (%s): %s is %.6g, the best value is %s, and %d validations in a row did not improve it",
            self.reason,
            self.monitor,
            value,
            best,
            self.bad,
        )
