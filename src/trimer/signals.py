"""How processes end: a closed terminal is a request to stop, and no process outlives the one that started it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PARENT = "TRIMER_PARENT"  # in the environment of a job: the process of its sweep
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled(numbers: tuple[signal.Signals, ...], handler: Callable) -> Iterator[None]:
    """Handle signals for a while, but not those that are ignored, as SIGHUP under nohup; in the main thread only."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
    for number in list(before):
        if before[number] is signal.SIG_IGN:
            del before[number]
        else:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def of_a_run() -> Iterator[None]:
    """What every command does: end by SIGHUP as by SIGTERM, and with the process that started it."""
    end_with_parent()
    with handled((signal.SIGHUP,), lambda number, frame: signal.raise_signal(signal.SIGTERM)):
        yield


def end_with_parent() -> None:
    """Watch the parent of a sweep's job or of a further rank, and end when it does, also when it was killed.

    A job gets SIGTERM, so it writes its last checkpoint. A rank has nothing to save, and may wait for the others.
    """
    if parent := os.environ.pop(PARENT, None):  # not for what the job itself starts
        _watch(int(parent), signal.SIGTERM)
    elif int(os.environ.get("LOCAL_RANK") or 0) > 0:
        _watch(os.getppid(), signal.SIGKILL)


def _watch(parent: int, number: signal.Signals) -> None:
    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, name="parent", daemon=True).start()
