"""How fast a run learns: real tokens per second, validation not counted."""

from __future__ import annotations

import time

import lightning as L


class Throughput(L.Callback):
    """Log `tokens_per_second`: what the model read and wrote on all devices, never padding, on the logging interval.

    The device is never waited for: over an interval of steps the queue of kernels is short against the time measured.
    """

    def __init__(self) -> None:
        self._tokens = 0
        self._since = 0.0
        self._paused = 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._restart(module)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._since += time.perf_counter() - self._paused

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop._should_accumulate() or trainer.global_step % trainer.log_every_n_steps:
            return
        seconds = time.perf_counter() - self._since
        tokens = (module.real_tokens - self._tokens) * trainer.world_size
        total = float(module.real_tokens * trainer.world_size)
        module.log("tokens_per_second", tokens / max(seconds, 1e-9), prog_bar=True, batch_size=1)
        module.log("real_tokens", total, batch_size=1)
        self._restart(module)

    def _restart(self, module: L.LightningModule) -> None:
        self._tokens = module.real_tokens
        self._since = time.perf_counter()
