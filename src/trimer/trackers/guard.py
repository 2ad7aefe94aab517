"""Calls of a tracker that must not end a training: errors are reported, and after several nothing more is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimer.reporting.attempts import attempt

FAILURES = 3  # failed calls after which nothing more is sent


class Guard:
    """Calls functions of a tracker. name: of the tracker, for messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0

    def __call__(self, what: str, call: Callable[..., Any], *arguments: Any) -> None:
        """call(*arguments), or a warning with `what` and the reason."""
        if self.failures < FAILURES and attempt(f"{what} of {self.name}", _done, call, *arguments) is None:
            self.failures += 1


def _done(call: Callable[..., Any], *arguments: Any) -> bool:
    call(*arguments)
    return True
