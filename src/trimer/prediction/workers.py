"""Worker processes for predictions: each loads the checkpoint and uses a share of the CPU cores, or one GPU."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from omegaconf import DictConfig, OmegaConf

from trimer.accelerators.cpu_speed import cores
from trimer.accelerators.hardware import computing, device_of
from trimer.errors import ConfigError
from trimer.plugins import load_plugin, loaded_files
from trimer.resuming import plain_dict

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

AHEAD = 2  # chunks per process that are computed in advance

Job = TypeVar("Job")


class Worker(Protocol):
    """An object that computes in a worker process: a predictor or an embedder."""

    loaded: Loaded
    cfg: DictConfig

    @property
    def net(self) -> Any:
        """The network that computes."""
        ...

    @classmethod
    def of_checkpoint(cls, path: str, cfg: DictConfig) -> Worker:
        """The worker of a checkpoint."""
        ...

    def predict_chunk(self, inputs: Sequence[Any]) -> list[Any]:
        """A result for each input."""
        ...


Compute = Callable[[list], Callable[[], list]]  # inputs -> a function that returns their results


def processes_of(cfg: DictConfig) -> int:
    """The number of processes that `trainer.devices` requests; a list of devices means one process."""
    devices = cfg.trainer.get("devices", 1)
    if OmegaConf.is_list(devices) or devices == "auto":
        return 1
    if not isinstance(devices, int) or isinstance(devices, bool):
        raise ConfigError(f"trainer.devices={devices} must be a number of processes, a list of devices, or auto")
    if devices < 1:
        raise ConfigError(f"trainer.devices={devices} must be 1 or more")
    return devices


@contextmanager
def computing_with(worker: Worker) -> Iterator[Compute]:
    """A function that computes chunks, in this process or in `trainer.devices` worker processes."""
    processes = processes_of(worker.cfg)
    if processes == 1:
        yield lambda inputs: lambda: results_of(worker, inputs)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch's threads can hang
    numbers = context.Queue()
    for number in range(processes):
        numbers.put(number)
    settings = plain_dict(worker.cfg)
    threads = max(1, cores() // processes)
    arguments = (type(worker), str(worker.loaded.path), settings, numbers, threads, loaded_files())
    pool = ProcessPoolExecutor(processes, context, initializer=_start, initargs=arguments)
    try:
        yield lambda inputs: pool.submit(_compute, inputs).result
    except BrokenProcessPool as error:
        raise ConfigError(
            f"a worker process of trainer.devices={processes} ended: in a Python script, call from below "
            "`if __name__ == '__main__':`; if the memory was too small, use fewer devices"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(jobs: Iterable[tuple[Job, Callable[[], list]]], processes: int) -> Iterator[tuple[Job, list]]:
    """Each job with its results, in order; several processes work on the following jobs in advance."""
    ahead = AHEAD * processes if processes > 1 else 0
    waiting: deque[tuple[Job, Callable[[], list]]] = deque()
    for job in jobs:
        waiting.append(job)
        if len(waiting) > ahead:
            first, results = waiting.popleft()
            yield first, results()
    for first, results in waiting:
        yield first, results()


_worker: Worker | None = None  # set in worker processes only


def _start(kind: type[Worker], checkpoint: str, settings: dict, numbers: Any, threads: int, plugins: list[str]) -> None:
    global _worker
    for file in plugins:
        load_plugin(file)
    cfg = OmegaConf.create(settings)
    cfg.trainer.devices = [numbers.get()] if device_of(cfg.trainer).type == "cuda" else 1
    torch.set_num_threads(threads)
    _worker = kind.of_checkpoint(checkpoint, cfg)


def _compute(inputs: list) -> list:
    assert _worker is not None  # `_start` has run in this process
    return results_of(_worker, inputs)


def results_of(worker: Worker, inputs: list) -> list:
    """The results of a chunk; the modes of torch end with the call, since callers are generators."""
    device = device_of(worker.cfg.trainer)
    if next(worker.net.parameters()).device != device:  # another predictor of the same network may have moved it
        worker.net.to(device)
    with computing(worker.cfg.trainer), torch.inference_mode():
        return worker.predict_chunk(inputs)
