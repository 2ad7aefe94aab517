"""Predictions that are stopped, as by Ctrl-C."""

from __future__ import annotations

from typing import Any

from trimer.prediction.partial import Partial


def stop_at_second_chunk(monkeypatch: Any) -> list[Any]:
    """The second chunk that is computed raises KeyboardInterrupt; returns the keys of all chunks that are computed."""
    once, computed = Partial.once, []

    def stopping(self, key, compute, *arguments):
        def counted(*given):
            computed.append(key)
            if len(computed) == 2:
                raise KeyboardInterrupt
            return compute(*given)

        return once(self, key, counted, *arguments)

    monkeypatch.setattr(Partial, "once", stopping)
    return computed
