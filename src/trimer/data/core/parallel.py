"""Work on many records by several processes, with the result of one: in order, and never far ahead of the reader."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from trimer.accelerators.cpu_speed import cores

Part = TypeVar("Part")
Answer = TypeVar("Answer")

AHEAD = 3  # parts for each process that are computed before they are asked for
FEW = 1_000  # values that one process handles at a time; fewer in all are not worth a second process
_WORKERS: ContextVar[int] = ContextVar("workers", default=1)


def in_order(
    function: Callable[..., Answer], parts: Iterable[Part], workers: int | None = None, *arguments: object
) -> Iterator[tuple[Part, Answer]]:
    """Each part with function(part, *arguments), in order.

    workers: processes; None is one for each processor, 0 and 1 compute here. A process that may not have children of
    its own computes here too.
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
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()


@contextmanager
def preparing(workers: int | None) -> Iterator[None]:
    """Let `for_each` use so many processes inside."""
    token = _WORKERS.set(cores() if workers is None else workers)
    try:
        yield
    finally:
        _WORKERS.reset(token)


def for_each(function: Callable[[Part], Answer], values: Sequence[Part]) -> list[Answer]:
    """function(value) for each value; many values by the processes that `preparing` allows."""
    if len(values) <= FEW or _WORKERS.get() <= 1:
        return [function(value) for value in values]
    parts = (values[start : start + FEW] for start in range(0, len(values), FEW))
    return [answer for _, answers in in_order(_each, parts, _WORKERS.get(), function) for answer in answers]


def _each(values: Sequence[Part], function: Callable[[Part], Answer]) -> list[Answer]:
    return [function(value) for value in values]
