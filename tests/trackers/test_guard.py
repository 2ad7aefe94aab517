"""A tracker that fails is reported and left alone."""

from __future__ import annotations

from trimer.reporting.attempts import failed_reports
from trimer.trackers.guard import FAILURES, Guard


def test_after_several_failures_nothing_more_is_sent():
    failed_reports()
    guard, calls = Guard("X"), []

    def call(value: int) -> None:
        calls.append(value)
        if value:
            raise OSError("gone")

    for value in (1, 0, 1, 1, 0, 1):
        guard("metrics", call, value)
    assert calls == [1, 0, 1, 1] and FAILURES == 3
    assert len(failed_reports()["not_made"]) == 3
