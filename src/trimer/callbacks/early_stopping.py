"""Stops a run when its validation metric gets worse or no longer improves, and records which of the two."""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning as L

from trimer.errors import ConfigError

log = logging.getLogger(__name__)

RISING, FLAT, NOT_FINITE = "rising", "no significant improvement", "not finite"


class EarlyStopping(L.Callback):
    """Stops after `patience` bad validations in a row, or at once when the metric is NaN or infinite.

    monitor, mode: the validation metric, and whether lower ("min") or higher ("max") is better. With "min" a value is
    bad if it is
        rising: above best + margin * |best|, where best is the lowest value so far, or otherwise
        no significant improvement: not below significant - margin * |significant|, where significant is the value of
        the last significant improvement. Several small improvements therefore add up to a significant one.
    With "max" the sign of the metric is reversed. margin is a fraction; `min_delta` is its minimum in absolute units,
    for metrics near zero. The first value is never bad.
    patience: number of validations, independent of epochs. patience_multiple: use this multiple of the patience of the
    learning-rate schedule instead (at least 1), so that the rate is reduced first.
    `reason` records why a run was stopped. A resumed run stops again, unless its patience is longer.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: str = "min",
        patience: int = 5,
        patience_multiple: int | None = None,
        margin: float = 0.01,
        min_delta: float = 0.0,
    ):
        if mode not in ("min", "max"):
            raise ConfigError(f"callbacks.early_stopping.mode={mode} must be min or max")
        for name, value in (("patience", patience), ("patience_multiple", patience_multiple)):
            if value is not None and value < 1:
                raise ConfigError(f"callbacks.early_stopping.{name}={value} must be 1 or more")
        for name, minimum in (("margin", margin), ("min_delta", min_delta)):
            if not 0 <= minimum < math.inf:
                raise ConfigError(f"callbacks.early_stopping.{name}={minimum} must not be negative")
        self.monitor, self.mode, self.margin, self.min_delta = monitor, mode, margin, min_delta
        self.patience, self.patience_multiple = patience, patience_multiple
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None  # both with the sign reversed for mode="max"
        self.significant: float | None = None
        self.bad = 0
        self.reason: str | None = None

    def update(self, value: float) -> str | None:
        """Record the metric of a validation; returns the reason to stop, or None."""
        if not math.isfinite(value):
            self.reason = NOT_FINITE
            return self.reason
        value = value if self.mode == "min" else -value
        if self.best is None or self.significant is None:
            self.best = self.significant = value
            return None
        rising = value > self.best + self._smallest_change(self.best)
        self.best = min(self.best, value)
        if value < self.significant and value <= self.significant - self._smallest_change(self.significant):
            self.significant, self.bad = value, 0
            return None
        self.bad += 1
        if self.bad >= self.patience:
            self.reason = RISING if rising else FLAT
        return self.reason

    def _smallest_change(self, value: float) -> float:
        return max(self.margin * abs(value), self.min_delta)

    def state_dict(self) -> dict:
        return {"best": self.best, "significant": self.significant, "bad": self.bad, "reason": self.reason}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.significant = state["best"], state["significant"]
        self.bad, self.reason = state["bad"], state["reason"]

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._reset()  # after an earlier fit; the state of a checkpoint is loaded later

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
