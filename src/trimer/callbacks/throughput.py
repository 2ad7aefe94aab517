"""Training speed: tokens per second without padding and validation, and model FLOPs utilization (MFU)."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import lightning as L
import torch

# Peak of dense bf16 matrix products in TFLOP/s, from the manufacturers' data sheets. The first matching name counts.
PEAKS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "GH200": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "4090": 165.0,
}


def peak_of(name: str) -> float | None:
    """Peak of a GPU by its name, None if unknown. Whole words are matched: an L40 is neither an L4 nor an L40S."""
    return next((peak for key, peak in PEAKS.items() if re.search(rf"\b{key}\b", name)), None)


class Throughput(L.Callback):
    """Logs `tokens_per_second` of all devices at every logging step, without padding; for proteins, residues too.

    If the network counts its FLOPs, `mfu` is their fraction of the device's peak (model FLOPs utilization).
    peak: of one device, in TFLOP/s; by default looked up by the GPU's name. Without it `mfu` is not logged.
    The callback never waits for the device: the queue of kernels is short compared with a logging interval.
    """

    def __init__(self, peak: float | None = None) -> None:
        self.peak = peak
        self._work: Counter[str] = Counter()
        self._since = 0.0
        self._paused = 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if self.peak is None and module.device.type == "cuda":
            name = torch.cuda.get_device_name(module.device)
            self.peak = peak_of(name)
        self._restart(module)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._since += time.perf_counter() - self._paused

    def on_train_batch_end(self, trainer: Any, module: Any, outputs, batch, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop._should_accumulate() or trainer.global_step % trainer.log_every_n_steps:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        work = module.share_work()
        rates = {name: (total - self._work[name]) / seconds for name, total in work.items()}
        operations = rates.pop("flops", None)
        for name, rate in rates.items():
            module.log(f"{name}_per_second", rate, prog_bar=name == "tokens", batch_size=1)
        if operations is not None and self.peak:
            devices = trainer.world_size * getattr(trainer, "chips", 1)
            share = operations / (self.peak * 1e12 * devices)
            module.log("mfu", share, prog_bar=True, batch_size=1)
        module.log("real_tokens", float(module.real_tokens), batch_size=1)
        self._restart(module)

    def _restart(self, module: Any) -> None:
        self._work = Counter(module.total_work)
        self._since = time.perf_counter()
