"""Returns freed host memory to the operating system during training."""

from __future__ import annotations

import ctypes
import sys

import lightning as L


def trim() -> bool:
    """Return freed memory to the operating system; False if the C library cannot (only glibc can).

    Batches have different lengths, so blocks of many sizes are freed and rarely fit again. glibc keeps them, and a run
    of some thousand steps grows to several times the memory that it uses.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if malloc_trim is None:
        return False
    malloc_trim(0)
    return True


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
