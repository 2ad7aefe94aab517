"""Stop a run whose validations get worse or no better, and say which of the two it was."""

from __future__ import annotations

import logging
import math

import lightning as L

from trimer.errors import ConfigError

log = logging.getLogger(__name__)

RISING, FLAT, NOT_FINITE = "rising", "no significant improvement", "not finite"


class EarlyStopping(L.Callback):
    """Stops after `patience` validations in a row that are bad; after one whose metric is NaN or infinite at once.

    monitor, mode: the metric of the validations, and whether it is to fall ("min") or to rise ("max"). For one that is
    to fall a value is bad where it is
        rising: above best + margin * |best|, the best of all values, or else
        no significant improvement: not below significant - margin * |significant|, the best value when there last was
        a significant improvement; so many small steps are an improvement together.
    A metric that is to rise is followed with its sign turned. margin is a share; `min_delta` is the least that it comes
    to, for metrics around zero. The first value is the best so far, and never bad.
    patience: validations, however many epochs lie between them; with `patience_multiple` so many times the patience of
    the schedule, which is to have its chance first, and at least 1.
    `reason` says why a run was stopped. Where that run is resumed it stops again, unless its patience is longer.
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
        for name, value in (("margin", margin), ("min_delta", min_delta)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"callbacks.early_stopping.{name}={value} must not be negative")
        self.monitor, self.mode, self.margin, self.min_delta = monitor, mode, margin, min_delta
        self.patience, self.patience_multiple = patience, patience_multiple
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None  # these two with the sign of a metric that is to fall
        self.significant: float | None = None
        self.bad = 0
        self.reason: str | None = None

    def update(self, value: float) -> str | None:
        """Take the metric of a validation; why the run is to be stopped, or None."""
        if not math.isfinite(value):
            self.reason = NOT_FINITE
            return self.reason
        value = value if self.mode == "min" else -value
        if self.best is None:
            self.best = self.significant = value
            return None
        rising = value > self.best + self._least(self.best)
        self.best = min(self.best, value)
        if value < self.significant and value <= self.significant - self._least(self.significant):
            self.significant, self.bad = value, 0
            return None
        self.bad += 1
        if self.bad >= self.patience:
            self.reason = RISING if rising else FLAT
        return self.reason

    def _least(self, value: float) -> float:
        return max(self.margin * abs(value), self.min_delta)

    def state_dict(self) -> dict:
        return {"best": self.best, "significant": self.significant, "bad": self.bad, "reason": self.reason}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.significant = state["best"], state["significant"]
        self.bad, self.reason = state["bad"], state["reason"]

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._forget()  # of an earlier fit; what a checkpoint knows comes after this

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.patience_multiple is None:
            return
        patience = getattr(module.lr_schedulers(), "patience", None)
        if patience is None:
            raise ConfigError(
                "callbacks.early_stopping.patience_multiple is of the schedule's patience, and this schedule has none: "
                "take scheduler=warmup_plateau, or set patience_multiple=null and a patience"
            )
        self.patience = max(self.patience_multiple * patience, 1)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.reason != NOT_FINITE and self.bad < self.patience:
            self.reason = None
        trainer.should_stop = trainer.should_stop or self.reason is not None

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        """A validation within an accumulated step ends the run after that step; the task sees to it."""
        trainer.should_stop = trainer.should_stop or self.reason is not None

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking and not trainer.fast_dev_run
        if not fitting or self.reason is not None:
            return
        measured = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if self.monitor not in measured:
            known = ", ".join(sorted(measured))
            raise ConfigError(
                f"callbacks.early_stopping.monitor={self.monitor} is no metric of the validations; there are {known}"
            )
        value = float(measured[self.monitor])
        if self.update(value) is None:
            return
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            trainer.should_stop = True
        sign = 1 if self.mode == "min" else -1
        best = "none" if self.best is None else f"{sign * self.best:.6g}"
        log.info(
            "stopped early, %s: %s is %.6g, the best is %s, and %d validations in a row were bad",
            self.reason,
            self.monitor,
            value,
            best,
            self.bad,
        )
