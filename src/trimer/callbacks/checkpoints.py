"""Two checkpoints are kept, where the run stands and where it was best, and each is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there: what stands under the name is always whole."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options=None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            torch.save(checkpoint, partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: all that an exact resume needs, every so many optimiser steps and at the end.

    Where a validation is due at the same step it is written after that, so that a resumed run knows what was best; name
    it after the callbacks that follow a metric.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int = 500):
        super().__init__(
            dirpath=dirpath,
            filename="last",
            every_n_train_steps=every_n_train_steps,
            save_top_k=1,
            enable_version_counter=False,
        )

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        loop = trainer.fit_loop
        if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        step = trainer.global_step
        if step and step % self._every_n_train_steps == 0 and self._last_global_step_saved != step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

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
