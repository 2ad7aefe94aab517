"""Freed memory is returned to the system at the configured steps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trimer.callbacks import host_memory
from trimer.callbacks.host_memory import HostMemory


def test_memory_is_returned_at_the_configured_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(host_memory, "trim", lambda: calls.append(1))
    memory, gathering = HostMemory(every=3), False
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_should_accumulate=lambda: gathering))
    for step in range(1, 8):
        memory.on_train_batch_end(SimpleNamespace(global_step=step, fit_loop=loop), None, None, None, step)
    assert len(calls) == 2
    gathering = True
    memory.on_train_batch_end(SimpleNamespace(global_step=9, fit_loop=loop), None, None, None, 9)
    assert len(calls) == 2
    memory.on_validation_end(None, None)
    assert len(calls) == 3
    with pytest.raises(ValueError, match="1 step or more"):
        HostMemory(every=0)
