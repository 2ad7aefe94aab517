"""Reports validations to an Optuna search, and ends the run when the search finds it hopeless."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L

from trimer.errors import ConfigError
from trimer.sweeps import pruning_files

log = logging.getLogger(__name__)

PRUNED = "pruned"


class Pruning(L.Callback):
    """Reports `monitor` after each validation to the search, and stops the run if the search decides so.

    folder: the run folder, through whose files the two communicate (`trimer.sweeps.pruning_files`). wait: seconds to
    wait for the decision of the search. Does nothing outside of a search. Validations are counted, not steps, so that
    trials with other batch sizes are compared. `reason` is "pruned" after a stop.
    """

    def __init__(self, folder: str | Path, monitor: str, wait: float) -> None:
        if not wait > 0:
            raise ConfigError(f"callbacks.pruning.wait={wait} must be above 0 seconds")
        self.folder, self.monitor, self.wait = Path(folder), monitor, wait
        self.validations = 0
        self.reason: str | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.validations = state["validations"]

    def on_validation_end(self, trainer: Any, module: L.LightningModule) -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking and not trainer.fast_dev_run
        if not fitting or self.reason is not None:
            return
        if self.monitor not in trainer.callback_metrics:
            names = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise ConfigError(f"callbacks.pruning.monitor={self.monitor} is not a metric; there are {names}")
        self.validations += 1
        prune = False
        if trainer.is_global_zero and pruning_files.is_expected(self.folder):
            pruning_files.report(self.folder, self.validations, float(trainer.callback_metrics[self.monitor]))
            prune = pruning_files.wait_for_decision(self.folder, self.validations, self.wait)
        if trainer.strategy.broadcast(prune):
            self.reason = PRUNED
            log.info("pruned by the search after validation %d", self.validations)
            if not trainer.fit_loop.epoch_loop._should_accumulate():
                trainer.should_stop = True

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        """Request the stop; a validation within an accumulated step ends the run after that step, in the task."""
        trainer.should_stop = trainer.should_stop or self.reason is not None
