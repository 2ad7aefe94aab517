"""Two checkpoints are kept, where the run stands and where it was best, and each is whole or not there."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from trimer.errors import CheckpointError
from trimer.failures import disk_is_full
from trimer.run import RunFolder


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there: what stands under the name is always whole."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options=None) -> None:
        path = Path(path)
        RunFolder.check_present(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:  # given a name, PyTorch forgets the reason of the system
                torch.save(checkpoint, file)
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            if not disk_is_full(error):
                raise
            raise CheckpointError(
                f"the disk is full: {path} could not be written. {self._kept(path)}. Free some space, then continue "
                f"with resume={path.parent.parent}"
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    @staticmethod
    def _kept(path: Path) -> str:
        """The last whole checkpoint, in words."""
        whole = sorted(path.parent.glob("*.ckpt"), key=lambda one: (one.name == "last.ckpt", one.stat().st_mtime))
        if not whole:
            return "No earlier checkpoint exists"
        written = datetime.fromtimestamp(whole[-1].stat().st_mtime, UTC).isoformat(timespec="seconds")
        return f"The last whole checkpoint is {whole[-1]}, of {written}"


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: all that an exact resume needs, every so many optimiser steps, at the end, and when asked to stop.

    In a run of one process the first Ctrl-C, or SIGTERM, lets the optimiser step end, writes the checkpoint and stops;
    a Ctrl-C during a validation waits for its end. A second Ctrl-C stops at once. Where a validation is due at the same
    step the checkpoint is written after that, so that a resumed run knows what was best; name it after the callbacks
    that follow a metric.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int = 500):
        super().__init__(
            dirpath=dirpath,
            filename="last",
            every_n_train_steps=every_n_train_steps,
            save_top_k=1,
            enable_version_counter=False,
        )
        self._asked = False  # by Ctrl-C
        self._terminated = False  # in the middle of a step, by SIGTERM
        self._handler = None  # of Ctrl-C, before this one

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, module, stage)
        alone = trainer.world_size == 1 and threading.current_thread() is threading.main_thread()
        if stage == "fit" and alone and not trainer.fast_dev_run:
            self._handler = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("\ntrimer: stopping after this step; Ctrl-C once more stops at once", file=sys.stderr)

    def _restore_handler(self) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        loop = trainer.fit_loop
        if self._waits_for_the_epoch(trainer) and loop.epoch_loop._num_ready_batches_reached():
            return
        if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
            if not loop.epoch_loop._should_accumulate():
                self._stop_if_asked(trainer)
            elif trainer.received_sigterm and trainer.world_size == 1:  # Lightning would stop before the step's end
                self._terminated, trainer._signal_connector.received_sigterm = True, False

    @staticmethod
    def _waits_for_the_epoch(trainer: L.Trainer) -> bool:
        """Whether the length is in epochs: from between a last batch and its epoch's end Lightning miscounts them."""
        return trainer.max_steps == -1

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, module)
        step = trainer.global_step
        if self._waits_for_the_epoch(trainer):
            if step % self._every_n_train_steps == 0 and self._last_global_step_saved != step:
                self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        terminated = self._terminated or (trainer.received_sigterm and trainer.world_size == 1)
        if not (self._asked or terminated):
            return
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        raise SIGTERMException if terminated else KeyboardInterrupt

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        step = trainer.global_step
        if step and step % self._every_n_train_steps == 0 and self._last_global_step_saved != step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        if step and not trainer.sanity_checking:
            self._stop_if_asked(trainer)

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self._restore_handler()
        super().teardown(trainer, module, stage)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._restore_handler()
        super().on_exception(trainer, module, exception)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_train_end(trainer, module)
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class BestCheckpoint(ModelCheckpoint):
    """`best.ckpt`: the weights with the best value of a metric, without the state of the optimizer."""

    def __init__(self, dirpath: str, monitor: str = "val/loss", mode: str = "min"):
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_weights_only=True,
            enable_version_counter=False,
        )
