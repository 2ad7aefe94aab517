"""How processes end: a closed terminal or the warning of a queue is a request to stop; none outlives its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0  # seconds in which a handler in Python may end the process by itself
PARENT = "TRIMER_PARENT"  # environment variable of a sweep's job: the process id of the sweep
# A closed terminal, and the usual warning of a queue before a time limit or a preemption; none on Windows.
WARNINGS = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name))
ENDING = (signal.SIGTERM, *WARNINGS)
FORWARDED = (signal.SIGINT, *ENDING)
# A terminal sends them to all processes that were started from it: Ctrl-C, and closing the terminal.
OF_TERMINAL = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))


@contextmanager
def handled(numbers: tuple[signal.Signals, ...], handler: Callable) -> Iterator[None]:
    """Handle signals within the block, in the main thread only. Ignored ones (SIGHUP under nohup) stay ignored."""
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
def hidden_from_children() -> Iterator[None]:
    """Let the processes that this thread starts within the block not receive the signals of the terminal."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    hide()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hide() -> None:
    """Do not receive the signals of the terminal, in this thread and the processes that it starts."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)


def receive_again() -> None:
    """Receive the signals of the terminal, which the parent of this process may have hidden from it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINAL)


@contextmanager
def end_on_warnings() -> Iterator[None]:
    """End on WARNINGS as on SIGTERM, and when the process that started this one ends; used by every command."""
    end_with_parent()
    with handled(WARNINGS, lambda number, frame: signal.raise_signal(signal.SIGTERM)):
        yield


@contextmanager
def ended_while_waiting(processes: int) -> Iterator[None]:
    """End at once on a signal that comes while a distributed training waits for its other processes to start.

    PyTorch waits in compiled code, up to 30 minutes, and Python calls no handler meanwhile: Ctrl-C would do nothing.
    processes: of the training; with one nothing is waited for.
    """
    if processes < 2 or threading.current_thread() is not threading.main_thread() or os.name != "posix":
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_while_waiting, args=(reader,), name="waiting", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # ends the thread


def _end_while_waiting(reader: int) -> None:
    import torch.distributed as dist

    while received := os.read(reader, 1):  # the number of a signal
        time.sleep(PATIENCE)
        if received[0] in FORWARDED and not dist.is_initialized():
            name = signal.Signals(received[0]).name
            os.write(2, f"trimer: stopped by {name} while waiting for the other processes of the training\n".encode())
            os._exit(130 if received[0] == signal.SIGINT else 143)
    os.close(reader)


def end_with_parent() -> None:
    """Watch the parent of a sweep's job or of a further rank, and end when it ends, even if it was killed.

    A job gets SIGTERM, so it writes its last checkpoint. A rank has nothing to save and may wait for the others, so it
    is killed.
    """
    if parent := os.environ.pop(PARENT, None):  # not inherited by processes of the job itself
        _watch(int(parent), signal.SIGTERM)
    elif int(os.environ.get("LOCAL_RANK") or 0) > 0:
        _watch(os.getppid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def _watch(parent: int, number: signal.Signals) -> None:
    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, name="parent", daemon=True).start()
