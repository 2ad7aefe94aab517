"""Batch-size finder: real training steps with growing batches, with their speed and memory, until none larger fits."""

from __future__ import annotations

import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

from trimer.accelerators.hardware import available_memory, peak_memory
from trimer.errors import ConfigError
from trimer.files import write_csv

log = logging.getLogger(__name__)

RESOLUTION = 8  # the search ends when the next size differs by less than 1/8
EXHAUSTED = 0.8  # batches with less than this fraction of the tokens asked for hold nearly all of the data
ENOUGH = 0.95  # fraction of the highest speed
HOST_SHARE = 0.8  # of the free memory of the host that may be used
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
COLUMNS = ("tokens_per_batch", "tokens", "seconds_per_step", "tokens_per_second", "memory_mb", "fits")


@dataclass(frozen=True)
class Measurement:
    """Training steps with one value of data.tokens_per_batch.

    tokens: mean number of real tokens in a batch. seconds: of a step, without loading. memory: peak in MB. The last
    three are None if the size does not fit.
    """

    size: int
    fits: bool
    tokens: float | None = None
    seconds: float | None = None
    memory: float | None = None

    @property
    def speed(self) -> float:
        """Tokens per second; 0 if the size does not fit."""
        return self.tokens / self.seconds if self.tokens and self.seconds else 0.0

    def row(self) -> tuple[object, ...]:
        """The row of the table."""
        return self.size, self.tokens, self.seconds, self.speed or None, self.memory, self.fits


class BatchSizeFinder(L.Callback):
    """Doubles data.tokens_per_batch from `smallest` until a step does not fit into the memory, then bisects.

    Each size is measured by `steps` complete optimizer steps of the real data, model and precision, after one that is
    not measured. On a GPU a size does not fit if PyTorch runs out of memory. On the CPU, where this would end the
    process, the memory of a size is estimated from those before it, and sizes beyond the limit are not tried.
    largest: no size above it is tried. memory_gb: the limit in GB; null is all of the GPU, or 80 % of the free memory
    of the host. Writes `batch_sizes.csv` and `batch_sizes.svg` to the folder.
    """

    def __init__(self, folder: str | Path, smallest: int, largest: int, steps: int, memory_gb: float | None) -> None:
        if not 0 < smallest <= largest or steps < 1 or (memory_gb is not None and memory_gb <= 0):
            raise ConfigError(
                f"callbacks.batch_sizes: smallest={smallest} must be above 0 and at most largest={largest}, "
                f"steps={steps} at least 1, and memory_gb={memory_gb} above 0 or null"
            )
        self.folder = Path(folder)
        self.smallest, self.largest, self.steps, self.memory_gb = smallest, largest, steps, memory_gb
        self.limit: float | None = None  # MB
        self.measured: list[Measurement] = []
        self.next_steps: list[str] = []
        self._undecided: list[Any] = []  # encoders whose activation checkpointing depends on the size

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        self._undecided = [part for part in module.modules() if getattr(part, "checkpointing", None) == "auto"]

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Measure all sizes, write the files and end the training."""
        check_measurable(trainer)
        self.limit = self._set_limit(module.device)
        before = trainer.datamodule.tokens_per_batch
        try:
            search(lambda size: self._measure(trainer, module, size), self.smallest, self.largest)
        finally:
            trainer.datamodule.tokens_per_batch = before
            if self.memory_gb and module.device.type == "cuda":
                torch.cuda.set_per_process_memory_fraction(1.0, module.device)
        trainer.should_stop = True
        self._report()

    def _set_limit(self, device: torch.device) -> float | None:
        """The memory that may be used in MB, None if unknown."""
        if device.type == "cuda":
            total = torch.cuda.get_device_properties(device).total_memory
            if self.memory_gb:
                torch.cuda.set_per_process_memory_fraction(min(1.0, self.memory_gb * 1e9 / total), device)
            return min(total / 1e6, (self.memory_gb or total) * 1e3)
        if self.memory_gb:
            return self.memory_gb * 1e3
        free, used = available_memory(), peak_memory()
        return None if free is None or used is None else used + HOST_SHARE * free

    def _measure(self, trainer: Any, module: Any, size: int) -> Measurement:
        if module.device.type != "cuda" and self.limit and estimated(self.measured, size) > self.limit:
            measurement = Measurement(size, fits=False)
        else:
            measurement = self._steps_with(trainer, module, size)
        if not measurement.fits:
            free_memory(module)
        self.measured.append(measurement)
        shown = f"{measurement.speed:,.0f} tokens/s, {measurement.memory or 0:,.0f} MB"
        log.info("data.tokens_per_batch=%d: %s", size, shown if measurement.fits else "does not fit into the memory")
        return measurement

    def _steps_with(self, trainer: Any, module: Any, size: int) -> Measurement:
        """Some optimizer steps with batches of this size; the first one is not timed."""
        trainer.datamodule.tokens_per_batch = size
        choose_again(self._undecided, module.net, trainer)
        on_gpu = module.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(module.device)
        try:
            loaded = list(islice(trainer.datamodule.train_dataloader(), self.steps + 1))
            batches = list(islice(cycle(loaded), self.steps + 1))
            train_step(trainer, module, batches[0])
            tokens, started = module.work["tokens"], now(on_gpu)
            for batch in batches[1:]:
                train_step(trainer, module, batch)
            seconds, tokens = now(on_gpu) - started, module.work["tokens"] - tokens
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return Measurement(size, fits=False)
        peak = peak_memory()
        fits = on_gpu or self.limit is None or peak is None or peak <= self.limit
        return Measurement(size, fits, tokens / self.steps, seconds / self.steps, peak)

    def _report(self) -> None:
        from trimer.reporting.batch_size_figure import batch_size_figure

        ordered = sorted(self.measured, key=lambda measurement: measurement.size)
        write_csv(self.folder / "batch_sizes.csv", COLUMNS, [measurement.row() for measurement in ordered])
        picture = batch_size_figure(ordered, self.limit, self.folder / "batch_sizes.svg")
        self.next_steps = [f"look at {picture}"]
        fitting = [measurement for measurement in ordered if measurement.fits]
        if not fitting:
            log.warning("not even data.tokens_per_batch=%d fits into the memory", self.smallest)
            self.next_steps.append("the same command with a smaller model, or model.checkpointing=true")
            return
        chosen = fast_enough(fitting)
        log.info(
            "largest batch that fits: data.tokens_per_batch=%d; smallest within 5 %% of the highest speed: %d",
            fitting[-1].size,
            chosen.size,
        )
        self.next_steps.append(f"the same command with data.tokens_per_batch={chosen.size} and without debug=")


def search(measure: Callable[[int], Measurement], smallest: int, largest: int) -> list[Measurement]:
    """Measure doubled sizes until one does not fit or the data are used up, then sizes between the last two."""
    measured = [measure(smallest)]
    while measured[-1].fits and measured[-1].size * 2 <= largest:
        before, new = measured[-1], measure(measured[-1].size * 2)
        measured.append(new)
        grown = (new.tokens or 0) > (before.tokens or 0)
        if new.fits and not grown and (new.tokens or 0) < EXHAUSTED * new.size:
            log.info("the training data hold no larger batches than %.0f tokens", new.tokens)
            return measured
    if measured[-1].fits or len(measured) == 1:
        return measured
    low, high = measured[-2].size, measured[-1].size
    while high - low > low // RESOLUTION and low + 1 < high:
        measured.append(new := measure((low + high) // 2))
        low, high = (new.size, high) if new.fits else (low, new.size)
    return measured


def fast_enough(fitting: Sequence[Measurement]) -> Measurement:
    """The smallest size within 5 % of the highest speed: larger batches take fewer steps in the same time."""
    highest = max(measurement.speed for measurement in fitting)
    return next(measurement for measurement in fitting if measurement.speed >= ENOUGH * highest)


def estimated(measured: Sequence[Measurement], size: int) -> float:
    """Peak memory of a size in MB: that of the two largest ones before it, continued as a line."""
    known = sorted((m.size, m.memory) for m in measured if m.fits and m.memory is not None)
    if len(known) < 2:
        return known[0][1] if known else 0.0
    (first, low), (last, high) = known[-2:]
    return high + max(0.0, high - low) / (last - first) * (size - last)


def train_step(trainer: Any, module: Any, batch: Any) -> None:
    """One complete optimizer step as in a training, with its precision and clipping."""
    batch = module.transfer_batch_to_device(batch, module.device, 0)
    arguments = OrderedDict(batch=batch, batch_idx=0)
    trainer.fit_loop.epoch_loop.automatic_optimization.run(trainer.optimizers[0], 0, arguments)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch could not allocate the memory of a step."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def free_memory(module: Any) -> None:
    """Release what a failed step has left: gradients, sums of the step, and the cache of the allocator."""
    for parameter in module.parameters():
        parameter.grad = None
    module._step_count = None
    module.forget_loss()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def choose_again(encoders: Sequence[Any], net: nn.Module, trainer: Any) -> None:
    """Choose activation checkpointing for the new size, where model.checkpointing=auto."""
    from trimer.tasks.network_setup import choose_checkpointing

    for encoder in encoders:
        encoder.checkpointing = "auto"
    choose_checkpointing(net, trainer, sharded=False)


def now(on_gpu: bool) -> float:
    """The time in seconds, after all work of the GPU is done."""
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def check_measurable(trainer: Any) -> None:
    """ConfigError unless this process trains alone, on a CPU or CUDA device, with batches limited by tokens."""
    device = trainer.strategy.root_device.type
    if trainer.world_size > 1 or device not in ("cpu", "cuda"):
        raise ConfigError(
            f"debug=batch_size measures one CPU or GPU, not {trainer.world_size} x {device}: add trainer=gpu or "
            "trainer=cpu, and trainer.devices=1"
        )
    if not hasattr(trainer.datamodule, "tokens_per_batch"):
        name = type(trainer.datamodule).__name__
        raise ConfigError(f"debug=batch_size changes data.tokens_per_batch, which data={name} does not have")
