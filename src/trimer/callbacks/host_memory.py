"""Memory of the machine that a training on the processor does not hold on to."""

from __future__ import annotations

import ctypes
import sys

import lightning as L


def trim() -> bool:
    """Give freed memory back to the system; False where the C library (not glibc) cannot.

    Batches differ in their lengths, so blocks of many sizes are freed and seldom fit again: glibc keeps them, and a run
    of some thousand steps grows to several times of what it uses.
    """
    found = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if found is None:
        return False
    found(0)
    return True


class HostMemory(L.Callback):
    """Trim the memory of the process every so many optimiser steps, and after each validation."""

    def __init__(self, every: int = 25) -> None:
        if every < 1:
            raise ValueError(f"every={every} must be 1 step or more")
        self.every = every

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        if trainer.global_step % self.every == 0 and not trainer.fit_loop.epoch_loop._should_accumulate():
            trim()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        trim()
