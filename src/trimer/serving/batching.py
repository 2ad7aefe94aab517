"""Dynamic batches: the inputs of concurrent requests are computed together, up to a number of tokens.

One thread computes. While it does, further inputs arrive, and the next batch takes as many of them as the budget of
tokens allows. It waits for requests that are being read at this moment, since reading and computing share the cores,
but not long beside the batch before (WAIT_SECONDS, WAIT_SHARE), and for no others. Interactive requests come before
jobs, but some batches begin with a job, so that jobs advance on a busy server too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimer.accelerators.free_memory import trim
from trimer.counts import counted
from trimer.errors import TrimerError
from trimer.prediction.workers import Compute, Worker, results_of
from trimer.serving.limits import Refusal

log = logging.getLogger(__name__)

JOB_EVERY = 8  # of so many batches one begins with a job
TRIM_EVERY = 500  # batches after which free memory is returned to the operating system
WAIT_SECONDS = 0.05  # at most, for requests that are being read,
WAIT_SHARE = 0.05  # or this share of the time of the batch before, if that is longer
LOOK_SECONDS = 2.0  # between two looks of a waiting thread whether its client has gone; each costs CPU time


class Computer(Worker, Protocol):
    """A predictor or an embedder."""

    def cost_of(self, value: Any) -> int:
        """What the computation of an input costs, in tokens."""
        ...


class Cancelled(Exception):
    """The client no longer waits for the result."""


@dataclass(eq=False)
class Ticket:
    """A request or a job. deadline: of time.monotonic(), None for no limit. background: after interactive requests.

    failed: the result of an input that raises an error when it is computed alone.
    """

    failed: Callable[[str], Any]
    deadline: float | None = None
    seconds: float = 0.0  # the limit that the deadline comes from, for its message
    background: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def patience(self) -> float:
        """Seconds to wait until the next `check`."""
        left = LOOK_SECONDS if self.deadline is None else self.deadline - time.monotonic()
        return min(max(left, 0.0), LOOK_SECONDS) + 0.001  # so that the deadline has passed

    def check(self) -> None:
        """Raise an error if the result is no longer wanted, or cannot be in time."""
        if self.cancelled.is_set():
            raise Cancelled
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Refusal(
                429,
                "too_slow",
                f"the predictions took longer than the limit limits.seconds of {self.seconds:g} s: send fewer records, "
                "or submit the file as a job (POST /v1/jobs)",
                retry_after=max(1, round(self.seconds)),
            )


@dataclass(eq=False)
class _Chunk:
    """Inputs of one ticket that wait. started: number of them that a batch has taken."""

    worker: Computer
    inputs: Sequence[Any]
    ticket: Ticket
    tokens: list[int]
    results: list[Any]
    size: int = 0  # tokens of all inputs
    started: int = 0
    left: int = 0
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Batcher:
    """Computes chunks in one thread. tokens_of_batch: the budget of a worker; observe: called with rows and tokens."""

    def __init__(
        self,
        tokens_of_batch: Callable[[Computer], int],
        observe: Callable[[int, int], None] = lambda rows, tokens: None,
    ):
        self.budget, self._observe = tokens_of_batch, observe
        self._changed = threading.Condition()
        self._waiting: deque[_Chunk] = deque()
        self._background: deque[_Chunk] = deque()
        self._reading: set[Ticket] = set()  # requests of which nothing waits yet
        self._batches, self._seconds, self._most = 0, 0.0, 0  # seconds and budget of the last batch
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="predictions", daemon=True)
        self._thread.start()

    def compute(self, worker: Computer, ticket: Ticket) -> Compute:
        """The function that a predictor computes its chunks with."""

        def start(inputs: list) -> Callable[[], list]:
            ticket.check()
            if not inputs:
                return list
            tokens = [worker.cost_of(value) for value in inputs]
            chunk = _Chunk(worker, inputs, ticket, tokens, [None] * len(inputs), sum(tokens), left=len(inputs))
            with self._changed:
                if self._closed:
                    raise Refusal(429, "shutting_down", "the server is shutting down: try again", retry_after=5)
                (self._background if ticket.background else self._waiting).append(chunk)
                self._reading.discard(ticket)
                if ticket.background or not self._reading or len(self._waiting) == 1 or self._is_full():
                    self._changed.notify()  # it waits for the others otherwise, and each call costs CPU time
            return lambda: self._result(chunk)

        return start

    @contextmanager
    def reading(self, ticket: Ticket) -> Iterator[None]:
        """The time in which the records of a request are read and handed over: the next batch waits for them."""
        with self._changed:
            self._reading.add(ticket)
        try:
            yield
        finally:
            with self._changed:
                if ticket in self._reading:  # it has no inputs, or failed
                    self._reading.remove(ticket)
                    self._changed.notify()

    @property
    def waiting(self) -> int:
        """The number of inputs that wait."""
        with self._changed:
            return sum(len(chunk.inputs) - chunk.started for chunk in (*self._waiting, *self._background))

    def close(self) -> None:
        """End the thread after the batch that is computed; what still waits gets a refusal."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _result(self, chunk: _Chunk) -> list:
        while not chunk.done.wait(chunk.ticket.patience()):
            try:
                chunk.ticket.check()
            except BaseException as error:
                with self._changed:
                    chunk.error = error
                raise
        if chunk.error is not None:
            raise chunk.error
        return chunk.results

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wait_for_readers()
                while not (batch := self._next_batch()) and not self._closed:
                    self._changed.wait()
                    self._wait_for_readers()
                if self._closed:
                    for chunk in (*self._waiting, *self._background, *{chunk for chunk, _ in batch}):
                        chunk.error = Refusal(429, "shutting_down", "the server is shutting down", retry_after=5)
                        chunk.done.set()
                    return
            started = time.monotonic()
            self._compute(batch)
            self._seconds = time.monotonic() - started
            if self._batches % TRIM_EVERY == 0:
                trim()

    def _wait_for_readers(self) -> None:
        """Let requests that are being read join the next batch, unless it is full or has waited long enough."""
        if not (self._waiting and self._reading):
            return
        most = min(self._seconds, max(WAIT_SECONDS, WAIT_SHARE * self._seconds))
        end, self._most = time.monotonic() + most, self.budget(self._waiting[0].worker)
        while self._waiting and self._reading and not self._is_full() and not self._closed:
            left = end - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _is_full(self) -> bool:
        return sum(chunk.size for chunk in self._waiting) >= self._most

    def _next_batch(self) -> list[tuple[_Chunk, int]]:
        """(chunk, row) of the next batch: rows of one worker, the oldest first; one row, or within the budget."""
        queues = [self._waiting, self._background]
        if self._batches % JOB_EVERY == JOB_EVERY - 1:
            queues.reverse()
        batch: list[tuple[_Chunk, int]] = []
        worker, filled, most = None, 0, 0
        for chunk, row in self._rows(queues):
            if worker is None:
                worker, most = chunk.worker, self.budget(chunk.worker)
            if chunk.worker is worker:
                filled += chunk.tokens[row]
                if batch and filled > most:
                    break
                batch.append((chunk, row))
                chunk.started = row + 1
        for queue in (self._waiting, self._background):
            for chunk in [chunk for chunk in queue if chunk.started == len(chunk.inputs)]:
                queue.remove(chunk)
        self._batches += bool(batch)
        return batch

    def _rows(self, queues: list[deque[_Chunk]]) -> Iterator[tuple[_Chunk, int]]:
        """The waiting rows; chunks that nothing waits for are removed."""
        for queue in queues:
            for chunk in list(queue):
                if chunk.error is not None or chunk.ticket.cancelled.is_set():
                    queue.remove(chunk)
                    chunk.error = chunk.error or Cancelled()
                    chunk.done.set()
                    continue
                for row in range(chunk.started, len(chunk.inputs)):
                    yield chunk, row

    def _compute(self, batch: list[tuple[_Chunk, int]]) -> None:
        worker = batch[0][0].worker
        self._observe(len(batch), sum(chunk.tokens[row] for chunk, row in batch))
        try:
            results = results_of(worker, [chunk.inputs[row] for chunk, row in batch])
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results for {len(batch)} inputs")
        except TrimerError as error:  # a setting, which is the same for all rows
            results = [error] * len(batch)
        except Exception:
            log.exception("%s failed together; each is computed alone", counted(len(batch), "inputs"))
            results = [self._alone(chunk, row) for chunk, row in batch]
        for (chunk, row), result in zip(batch, results, strict=True):
            if isinstance(result, TrimerError):
                chunk.error = chunk.error or result
            chunk.results[row] = result
            chunk.left -= 1
            if not chunk.left:
                chunk.done.set()

    def _alone(self, chunk: _Chunk, row: int) -> Any:
        """The result of one input, so that its error concerns no other."""
        try:
            (result,) = results_of(chunk.worker, [chunk.inputs[row]])
        except Exception as error:
            return chunk.ticket.failed(f"the prediction of this record failed ({type(error).__name__})")
        return result
