"""Learning-rate finder: a short training whose rate rises exponentially, with a plot and a suggested rate."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from trimer.errors import ConfigError
from trimer.files import write_csv

log = logging.getLogger(__name__)

SMOOTHING = 0.9  # of the exponential mean of the loss
FEWEST = 10  # steps for a suggestion


class LearningRateFinder(L.Callback):
    """Trains with rates from `lowest` to `highest`, one optimizer step each, and suggests a rate.

    The steps are those of the real data, model and optimizer; the schedule is ignored. The suggestion is the rate at
    which the smoothed loss falls fastest. The sweep ends after `steps`, or when the loss exceeds its best value by
    `stop_factor` times its fall. Rates of several parameter groups keep their ratios.
    Writes `lr_finder.csv` (rate, loss, smoothed loss) and `lr_finder.png` to the folder.
    """

    def __init__(self, folder: str | Path, lowest: float, highest: float, steps: int, stop_factor: float) -> None:
        if not 0 < lowest < highest or steps < FEWEST:
            raise ConfigError(
                f"callbacks.lr_finder: lowest={lowest} must be above 0 and below highest={highest}, and "
                f"steps={steps} at least {FEWEST}"
            )
        self.folder = Path(folder)
        self.lowest, self.highest, self.steps, self.stop_factor = lowest, highest, steps, stop_factor
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.suggestion: float | None = None
        self.next_steps: list[str] = []

    def rate(self, step: int) -> float:
        """The learning rate of an optimizer step."""
        return float(self.lowest * (self.highest / self.lowest) ** (step / (self.steps - 1)))

    def on_train_start(self, trainer: Any, module: Any) -> None:
        trainer.log_every_n_steps = 1
        if 0 < trainer.max_steps < self.steps:
            raise ConfigError(
                f"trainer.max_steps={trainer.max_steps} are fewer than the {self.steps} steps of the sweep: increase "
                "them, or reduce callbacks.lr_finder.steps"
            )

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """Set the rate after the schedule has set its own."""
        for optimizer in trainer.optimizers:
            initial = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
            for group, first in zip(optimizer.param_groups, initial, strict=True):
                group["lr"] = self.rate(trainer.global_step) * first / max(initial)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the loss of a step; runs before the task logs it."""
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return
        loss = module.mean_loss
        if math.isfinite(loss):
            self.rates.append(self.rate(trainer.global_step - 1))
            self.losses.append(loss)
        else:
            module.forget_loss()  # a loss that is not finite is an error in other trainings
        if not math.isfinite(loss) or len(self.losses) >= self.steps or diverged(self.losses, self.stop_factor):
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, module: Any) -> None:
        if not trainer.is_global_zero:
            return
        from trimer.reporting.sweep_of_rates import rate_figure

        smooth = smoothed(self.losses)
        self.suggestion = suggested(self.rates, smooth)
        columns = ("learning_rate", "loss", "smoothed_loss")
        write_csv(self.folder / "lr_finder.csv", columns, list(zip(self.rates, self.losses, smooth, strict=True)))
        picture = rate_figure(self.rates, self.losses, smooth, self.suggestion, self.folder / "lr_finder.png")
        self.next_steps = [f"look at {picture}"]
        if self.suggestion is None:
            log.warning("the loss does not fall at any rate from %g to %g: widen the range", self.lowest, self.highest)
            return
        log.info("suggested learning rate: %.2g (steepest fall of the loss)", self.suggestion)
        self.next_steps.append(f"the same command with optimizer.lr={self.suggestion:.2g} and without debug=")


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential mean of the losses, corrected for its start."""
    mean, values = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        values.append(mean / (1 - SMOOTHING**number))
    return values


def diverged(losses: Sequence[float], factor: float) -> bool:
    """Whether the smoothed loss has risen from its best value by `factor` times its fall, and by 10 % of it."""
    values = smoothed(losses)
    if len(values) < FEWEST:
        return False
    best = min(values)
    return values[-1] - best > max(factor * (max(values[: values.index(best) + 1]) - best), 0.1 * abs(best))


def suggested(rates: Sequence[float], smooth: Sequence[float]) -> float | None:
    """The rate at the steepest fall of the smoothed loss over log(rate), before its minimum; None if it never falls."""
    if len(smooth) < FEWEST:
        return None
    end = min(range(len(smooth)), key=smooth.__getitem__)
    slopes = {
        number: (smooth[number + 1] - smooth[number - 1]) / math.log(rates[number + 1] / rates[number - 1])
        for number in range(2, min(end, len(smooth) - 2) + 1)
    }
    if not slopes:
        return None
    number = min(slopes, key=slopes.__getitem__)
    return rates[number] if slopes[number] < 0 else None
