"""Signals that ask a run to stop: Ctrl-C, SIGTERM of a queue or a container, SIGHUP of a closed terminal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

ENDING = (signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Catches the signals while a training runs, so that it can stop where its state is whole.

    A second Ctrl-C stops at once. A signal that is ignored, as SIGHUP under nohup, stays ignored.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._hosts: torch.distributed.ProcessGroup | None = None
        self._before: dict[int, object] = {}

    def listen(self, trainer: L.Trainer) -> None:
        """Take the signals over from Lightning, which stops between batches and saves in the middle of a step.

        All processes of the run call this together.
        """
        if trainer.world_size > 1 and torch.distributed.is_available() and torch.distributed.is_initialized():
            self._hosts = torch.distributed.new_group(backend="gloo")  # asks the processes, and no GPU
        if threading.current_thread() is not threading.main_thread():
            return
        self._number = None
        for number in (signal.SIGINT, *ENDING, *requeue_signals(trainer)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is None and number == signal.SIGINT:  # print could be what was interrupted
            os.write(2, b"\ntrimer: stopping after this step; Ctrl-C once more stops at once\n")
        self._number = self._number or number

    def forget(self) -> None:
        """Give the signals back."""
        self._hosts = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def asked(self, trainer: L.Trainer) -> bool:
        """Whether any process of the run was asked to stop; all processes call this at the same place."""
        asked = self._number is not None
        if self._hosts is not None:
            number = torch.tensor(int(asked))
            torch.distributed.all_reduce(number, group=self._hosts)
            return bool(number)
        return trainer.strategy.reduce_boolean_decision(asked, all=False) if trainer.world_size > 1 else asked

    @property
    def exception(self) -> BaseException:
        """What ends the training."""
        return KeyboardInterrupt() if self._number == signal.SIGINT else SIGTERMException()


def requeue_signals(trainer: L.Trainer) -> list[int]:
    """The signal by which SLURM announces the end of a job.

    Lightning would save in the middle of a step, and queue a command again that is refused: its run has begun.
    """
    environment = trainer._accelerator_connector.cluster_environment
    if not getattr(environment, "auto_requeue", False):
        return []
    return [environment.requeue_signal or signal.SIGUSR1]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Outside of a training, where nothing is to be saved, a signal that ends the process is an exception."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SIGTERMException

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, end) for n in ENDING if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
