"""The two checkpoints of a run, the last and the best; each is written completely or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from trimer.callbacks.stopping import StopRequest
from trimer.callbacks.whole_steps import ValidationInterrupted, WholeStepEpochLoop, use_whole_steps
from trimer.cli.failures import disk_is_full
from trimer.errors import CheckpointError
from trimer.files import written
from trimer.loggers import CSV
from trimer.run import RunFolder


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it, so a file with the final name is always complete.

    The content is on the disk before the rename, and the rename before the training continues, so this also holds
    after a loss of power.
    """

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options=None) -> None:
        path = Path(path)
        RunFolder.check_present(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                written(path, one_writer=True, durable=True) as partial,
                partial.open("wb") as file,  # given a path, PyTorch hides the system's error
            ):
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            if not disk_is_full(error):
                raise
            raise CheckpointError(
                f"the disk is full: {path} could not be written. Free some space, then {self._continuation(path)}"
            ) from error

    @staticmethod
    def _continuation(path: Path) -> str:
        """How to continue: from the last complete checkpoint, or, before the first one, anew."""
        run = RunFolder(path.parent.parent)
        last = run.last_checkpoint()
        if last is None:
            return "train again: no checkpoint that a training can continue from was written before"
        written = datetime.fromtimestamp(last.stat().st_mtime, UTC).isoformat(timespec="seconds")
        return f"continue with resume={run.path} from {last.name}, which was written at {written}"


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: everything that an exact resume needs, every N steps, at the end and when a run is stopped.

    It is only written between optimizer steps, after the metrics of the step are logged and the validation that is due
    has run (see `trimer.callbacks.whole_steps`). Ctrl-C, SIGTERM and SIGHUP stop a run there. A signal during a
    validation ends that validation, and the resumed run repeats it. During gradient accumulation the validation and
    the step are finished first, since a checkpoint does not hold the gradients of half a step. A second Ctrl-C stops at
    once. A resumed run deletes the rows of metrics.csv that were logged after the checkpoint.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int):
        super().__init__(
            dirpath=dirpath,
            filename="last",
            every_n_train_steps=every_n_train_steps,
            save_top_k=1,
            enable_version_counter=False,
        )
        self._stop = StopRequest()
        self._loop: WholeStepEpochLoop | None = None
        self._logged: dict | None = None  # logged metrics, from the checkpoint

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        super().setup(trainer, module, stage)
        self._logged = self._loop = None
        if stage == "fit" and not trainer.fast_dev_run:
            loop: WholeStepEpochLoop = use_whole_steps(
                trainer, lambda due: self._step_ended(trainer, loop, due), lambda: self._stop.requested(trainer)
            )
            self._loop = loop

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_train_start(trainer, module)
        if self._loop is None:
            return
        self._stop.listen(trainer)
        if self._logged is None:
            return
        metrics = {name: torch.tensor(value, dtype=torch.float64) for name, value in self._logged["metrics"].items()}
        trainer._logger_connector._callback_metrics.update(metrics)
        for logger in trainer.loggers:
            if isinstance(logger, CSV):
                logger.drop_rows_after(self._logged["rows"], self._loop._batches_that_stepped)

    def _step_ended(self, trainer: L.Trainer, loop: WholeStepEpochLoop, validation_due: bool) -> None:
        stop = validation_due or self._stop.requested(trainer)
        if stop or trainer.global_step % self._every_n_train_steps == 0 or loop.ends_training:
            self._save(trainer, loop)
        if stop:
            raise self._stop.exception

    def _save(self, trainer: L.Trainer, loop: WholeStepEpochLoop) -> None:
        loop.saving = True
        try:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        finally:
            loop.saving = False

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict) -> None:
        """Add the number of rows in metrics.csv, and the last value of each metric."""
        rows = next((logger.rows for logger in trainer.loggers if isinstance(logger, CSV)), None)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint["logged_metrics"] = {"rows": rows, "metrics": metrics}

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict) -> None:
        self._logged = checkpoint.get("logged_metrics", {"rows": None, "metrics": {}})
        self._last_global_step_saved = checkpoint["global_step"]

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        """Do nothing: the metrics of this step are not logged yet."""

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *args) -> None:
        loop = self._loop
        if loop is None or trainer.state.fn != "fit" or trainer.sanity_checking or loop._should_accumulate():
            return
        if self._stop.requested(trainer):
            raise ValidationInterrupted

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Do nothing: other callbacks may follow."""

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Do nothing: a resumed run ends the epoch again, from the checkpoint of its last step."""

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save once more if a callback has ended the training earlier than expected."""
        if self._loop is None:
            return
        if trainer.global_step and self._last_global_step_saved != trainer.global_step:
            self._save(trainer, self._loop)
        if self._stop.requested(trainer):
            raise self._stop.exception
        self._stop.forget()

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self._stop.forget()
        super().teardown(trainer, module, stage)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._stop.forget()
        super().on_exception(trainer, module, exception)


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the weights with the best value of a metric, without the state of the optimizer.

    It is written at the end of a validation, so that `last.ckpt` of the same step contains the best value.
    """

    def __init__(self, dirpath: str, monitor: str, mode: str):
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_weights_only=True,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        self.current_score = state_dict["current_score"]  # Lightning saves this value but does not restore it
