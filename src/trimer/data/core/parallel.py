"""Parallel processing of records: several processes, with the same ordered results as one, in bounded memory."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from trimer.accelerators.cpu_speed import cores

Part = TypeVar("Part")
Result = TypeVar("Result")

AHEAD = 3  # parts for each process that are computed before the caller needs them
FEW = 1_000  # values that a process handles at a time; for fewer values in total no second process is started
_WORKERS: ContextVar[int] = ContextVar("workers", default=1)


def in_order(
    function: Callable[..., Result], parts: Iterable[Part], workers: int | None = None, *arguments: object
) -> Generator[tuple[Part, Result], None, None]:
    """Pairs of each part and function(part, *arguments), in order.

    workers: number of processes; None starts one for each CPU core, 0 and 1 compute in this process. A daemon process
    may not start others and computes itself.
    """
    workers = cores() if workers is None else workers
    if workers <= 1 or multiprocessing.current_process().daemon:
        yield from ((part, function(part, *arguments)) for part in parts)
        return
    with ProcessPoolExecutor(workers) as pool:
        waiting: deque = deque()
        try:
            for part in parts:
                waiting.append((part, pool.submit(function, part, *arguments)))
                if len(waiting) > AHEAD * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


@contextmanager
def preparing(workers: int | None) -> Iterator[None]:
    """Allow `for_each` to use this many processes within the block; None: one for each CPU core."""
    token = _WORKERS.set(cores() if workers is None else workers)
    try:
        yield
    finally:
        _WORKERS.reset(token)


def for_each(function: Callable[[Part], Result], values: Sequence[Part]) -> list[Result]:
    """function(value) for each value; many values are shared among the processes that `preparing` allows."""
    if len(values) <= FEW or _WORKERS.get() <= 1:
        return [function(value) for value in values]
    parts = (values[start : start + FEW] for start in range(0, len(values), FEW))
    return [result for _, results in in_order(_each, parts, _WORKERS.get(), function) for result in results]


def _each(values: Sequence[Part], function: Callable[[Part], Result]) -> list[Result]:
    return [function(value) for value in values]
