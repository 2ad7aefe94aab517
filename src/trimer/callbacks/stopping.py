"""Signals that request a stop: Ctrl-C, SIGTERM and SIGUSR1 from a queue or container, SIGHUP from a closed terminal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from trimer.signals import ENDING, handled


class StopRequest:
    """Catches the signals during a training, so that it stops between two optimizer steps.

    A second Ctrl-C stops at once. A signal that is ignored, such as SIGHUP under nohup, stays ignored.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._hosts: torch.distributed.ProcessGroup | None = None
        self._before: dict[int, Any] = {}

    def listen(self, trainer: L.Trainer) -> None:
        """Replace Lightning's signal handlers, which stop between batches and save in the middle of a step.

        All processes of the run call this together.
        """
        if trainer.world_size > 1 and torch.distributed.is_available() and torch.distributed.is_initialized():
            self._hosts = torch.distributed.new_group(backend="gloo")  # on the CPU, without waiting for a GPU
        if threading.current_thread() is not threading.main_thread():
            return
        self._number = None
        for number in dict.fromkeys((signal.SIGINT, *ENDING, *requeue_signals(trainer))):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is None and number == signal.SIGINT:  # the signal may have interrupted print
            os.write(2, b"\ntrimer: stopping after this step; press Ctrl-C again to stop at once\n")
        self._number = self._number or number

    def forget(self) -> None:
        """Restore the earlier signal handlers."""
        self._hosts = None
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def requested(self, trainer: L.Trainer) -> bool:
        """Whether any process of the run was requested to stop; all processes call this at the same point."""
        requested = self._number is not None
        if self._hosts is not None:
            requests = torch.tensor(int(requested))
            torch.distributed.all_reduce(requests, group=self._hosts)
            return bool(requests)
        return trainer.strategy.reduce_boolean_decision(requested, all=False)

    @property
    def exception(self) -> BaseException:
        """The exception that ends the training."""
        return KeyboardInterrupt() if self._number == signal.SIGINT else SIGTERMException()


def requeue_signals(trainer: L.Trainer) -> list[int]:
    """The signal by which SLURM announces the end of a job.

    Lightning would save in the middle of a step and requeue a command that fails, because its run has already begun.
    """
    environment: Any = trainer._accelerator_connector.cluster_environment
    if not getattr(environment, "auto_requeue", False):
        return []
    return [environment.requeue_signal or signal.SIGUSR1]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Outside of a training, where nothing has to be saved, turn a signal that ends the process into an exception."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SIGTERMException

    with handled(ENDING, end):
        yield
