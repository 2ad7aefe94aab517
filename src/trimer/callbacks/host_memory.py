"""Returns freed host memory to the operating system during training."""

from __future__ import annotations

import lightning as L

from trimer.accelerators.free_memory import trim


class HostMemory(L.Callback):
    """Trims the memory of the process every `every` optimizer steps and after each validation."""

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every={every} must be 1 step or more")
        self.every = every

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        if trainer.global_step % self.every == 0 and not trainer.fit_loop.epoch_loop._should_accumulate():
            trim()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        trim()
