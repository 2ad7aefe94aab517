"""The planned learning rates of a training, written when it starts, which its page compares with the real ones."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.optim.lr_scheduler import LambdaLR

from trimer.errors import ConfigError
from trimer.files import write_csv
from trimer.reporting.attempts import attempt

log = logging.getLogger(__name__)

POINTS = 400  # of the plan in the file
STEPPED = 100_000  # longest plan of a schedule that can only be followed step by step


class PlannedSchedule(L.Callback):
    """Writes the planned learning rate over optimizer steps to `schedule.csv` of the folder, when a training starts.

    A schedule that follows a metric (scheduler=warmup_plateau) is planned as if the metric always improved. With
    several parameter groups the rate is that of the first one, which is the highest.
    only: end the training before its first step, and draw the plan as `schedule.svg`.
    """

    def __init__(self, folder: str | Path, only: bool) -> None:
        self.folder, self.only = Path(folder), only
        self.next_steps: list[str] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if trainer.fast_dev_run or not trainer.is_global_zero:
            trainer.should_stop = trainer.should_stop or self.only
            return
        rates = attempt("the plan of the learning rate", planned_rates, trainer, module)
        if rates:
            write_csv(self.folder / "schedule.csv", ("step", "learning_rate"), rates)
        if self.only:
            trainer.should_stop = True
            self._report(rates)

    def _report(self, rates: list[tuple[int, float]] | None) -> None:
        from trimer.reporting.schedule_figures import write_schedule

        if not rates:
            raise ConfigError(
                "debug=schedule draws the learning rate over a training of known length: set trainer.max_steps or "
                "trainer.max_epochs, and a scheduler"
            )
        peak = max(rates, key=lambda pair: pair[1])
        log.info(
            "%d steps: the learning rate starts at %.2g, reaches %.2g at step %d and ends at %.2g",
            rates[-1][0] + 1, rates[0][1], peak[1], peak[0], rates[-1][1],
        )  # fmt: skip
        self.next_steps = [f"look at {write_schedule(self.folder)}", "the same command without debug="]


def planned_rates(trainer: Any, module: Any) -> list[tuple[int, float]] | None:
    """Step and learning rate at up to 400 steps of the training; None without a schedule or a known end."""
    schedule: Any = module.lr_schedulers()
    factory, peaks = getattr(module, "scheduler_factory", None), getattr(schedule, "base_lrs", None)
    if factory is None or not peaks:
        return None
    batches = trainer.num_training_batches
    in_epoch = -(-batches // trainer.accumulate_grad_batches) if batches != float("inf") else 0
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else 0
    ends = [end for end in (trainer.max_steps, epochs * in_epoch) if end > 0]
    if not ends:
        return None
    steps = sorted({round(i * (min(ends) - 1) / (POINTS - 1)) for i in range(POINTS)})
    unit = in_epoch if getattr(schedule, "interval", "step") == "epoch" else 1
    rates = _rates(factory, float(peaks[0]), [step // unit for step in steps])
    return None if rates is None else list(zip(steps, rates, strict=True))


def _rates(factory: Any, peak: float, times: list[int]) -> list[float] | None:
    """The rates of a new schedule at ascending times; None if they can only be followed over too many steps."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = factory(optimizer)
    if isinstance(schedule, LambdaLR):
        return [peak * float(schedule.lr_lambdas[0](time)) for time in times]
    if times[-1] > STEPPED:
        return None
    optimizer.step()  # a schedule warns if it is stepped first
    rates, now = [], 0
    for time in times:
        while now < time:
            schedule.step()
            now += 1
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates
