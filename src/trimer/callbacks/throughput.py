"""How fast a run learns: real tokens per second, validation not counted, and what share of the device that is."""

from __future__ import annotations

import re
import time
from collections import Counter

import lightning as L
import torch

# Dense bf16 products per second, in TFLOP/s, as the makers state them; the first whose words a name holds.
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
    """The peak of a GPU by its name, None where it is not known: an L40 is neither an L4 nor an L40S."""
    return next((peak for key, peak in PEAKS.items() if re.search(rf"\b{key}\b", name)), None)


class Throughput(L.Callback):
    """Log `tokens_per_second` of all devices on the logging interval, never padding; of proteins, residues too.

    Where the network counts the operations of its products, `mfu` is the share of the device's peak that they make up.
    peak: of one device, in TFLOP/s; by default that of the GPU's name, and no `mfu` where it is not known.
    The device is never waited for: over an interval of steps the queue of kernels is short against the time measured.
    """

    def __init__(self, peak: float | None = None) -> None:
        self.peak = peak
        self._work: Counter[str] = Counter()
        self._since = 0.0
        self._paused = 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.peak is None and module.device.type == "cuda":
            name = torch.cuda.get_device_name(module.device)
            self.peak = peak_of(name)
        self._restart(module)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._since += time.perf_counter() - self._paused

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop._should_accumulate() or trainer.global_step % trainer.log_every_n_steps:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        work = module.share_work()
        rates = {name: (total - self._work[name]) / seconds for name, total in work.items()}
        operations = rates.pop("flops", None)
        for name, rate in rates.items():
            module.log(f"{name}_per_second", rate, prog_bar=name == "tokens", batch_size=1)
        if operations is not None and self.peak:
            share = operations / (self.peak * 1e12 * trainer.world_size)
            module.log("mfu", share, prog_bar=True, batch_size=1)
        module.log("real_tokens", float(module.real_tokens), batch_size=1)
        self._restart(module)

    def _restart(self, module: L.LightningModule) -> None:
        self._work = Counter(module.total_work)
        self._since = time.perf_counter()
