"""Lightning's training loops, changed so that checkpoints are written between optimizer steps and resumed there.

Lightning writes checkpoints inside hooks: before the metrics of the step are logged, before or after its validation,
or in the middle of an accumulation. On resuming it guesses which. Here there is one position: the optimizer step is
complete, its metrics are logged, and the validation that is due after it has run. If a signal interrupts that
validation, the checkpoint records this, and the resumed run starts with the validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop


class ValidationInterrupted(BaseException):
    """Raised to leave a validation that a signal has interrupted."""


class WholeStepEpochLoop(_TrainingEpochLoop):
    """Calls `step_ended(validation_due)` after each optimizer step, the only position where a checkpoint is written.

    stopping: returns whether a signal has requested the end of the run.
    """

    step_ended: Callable[[bool], None]
    stopping: Callable[[], bool]
    saving = False  # a checkpoint is being written at that position
    resumed = False  # from that position; checkpoints of earlier versions follow Lightning's rules
    validation_due = False

    @property
    def ends_training(self) -> bool:
        """Whether this step is the last one of the training."""
        fit_loop = self.trainer.fit_loop
        progress: Any = fit_loop.epoch_progress.current
        steps = self.max_steps != -1 and self.global_step >= self.max_steps
        epochs = fit_loop.max_epochs not in (None, -1) and self._num_ready_batches_reached()
        return (
            steps
            or (epochs and progress.processed + 1 >= fit_loop.max_epochs)
            or (self.trainer.should_stop and fit_loop._can_stop_early)
        )

    def on_save_checkpoint(self) -> dict:
        return super().on_save_checkpoint() | {"whole_step": self.saving, "validation_due": self.validation_due}

    def on_load_checkpoint(self, state_dict: dict) -> None:
        super().on_load_checkpoint(state_dict)
        self.resumed = state_dict.get("whole_step", False)
        self.validation_due = self.resumed and state_dict["validation_due"]

    def reset(self) -> None:
        if not (self.resumed and self.restarting):
            super().reset()
        elif self.trainer.fit_loop.restarted_mid_epoch:
            super().reset()  # keeps the count of batches
            self.restarting = False  # the last step is complete
        else:
            self.restarting = False
            super().reset()

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        if self.validation_due:
            self.on_advance_end(data_fetcher)

    def _broadcast_sigterm_tensor(self) -> None:
        """Do nothing: `stopping` synchronises all processes once per step, not in the middle of one."""

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        return self.validation_due or super()._should_check_val_fx(data_fetcher)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate if a validation is due; then the step has ended."""
        if self._should_accumulate():  # a validation in the middle of a step is not interrupted
            super().on_advance_end(data_fetcher)
            return
        if self._should_check_val_fx(data_fetcher) and self.stopping():
            self._end(validation_due=True)
        try:
            super().on_advance_end(data_fetcher)
        except ValidationInterrupted:
            trainer: Any = self.trainer
            for callback in trainer.callbacks:
                if isinstance(callback, WeightAveraging):  # validates with the average in place of the weights
                    callback._swap_models(self.trainer.lightning_module)
            self.trainer.training = True
            self._end(validation_due=True)
        self._end(validation_due=False)

    def _end(self, validation_due: bool) -> None:
        self.validation_due = validation_due
        self.step_ended(validation_due)


class WholeStepFitLoop(_FitLoop):
    """Ends an epoch that has begun before it checks whether the training is over.

    A run that was killed between its last step and its end is thus finished as it would have been.
    """

    epoch_loop: WholeStepEpochLoop

    @property
    def done(self) -> bool:
        epochs: Any = self.epoch_progress.current
        return not (self.epoch_loop.resumed and epochs.processed < epochs.started) and super().done


def use_whole_steps(
    trainer: L.Trainer, step_ended: Callable[[bool], None], stopping: Callable[[], bool]
) -> WholeStepEpochLoop:
    """Replace the loop classes of a trainer before its training begins; the loops keep their state and data."""
    trainer.fit_loop.__class__ = WholeStepFitLoop
    loop: Any = trainer.fit_loop.epoch_loop
    loop.__class__ = WholeStepEpochLoop
    loop.step_ended, loop.stopping = step_ended, stopping
    return loop
