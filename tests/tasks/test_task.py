"""What all tasks check when a training starts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trimer.errors import ConfigError
from trimer.models.esm2 import Esm2
from trimer.tasks.masked_lm import MaskedLM


def test_processes_with_different_precisions_are_rejected():
    """As on two nodes of a cluster whose CPUs were measured differently."""
    task = MaskedLM(Esm2(d_model=16, layers=1, heads=2), None)
    strategy = SimpleNamespace(broadcast=lambda mine: "32-true")  # that of the first process
    task._trainer = SimpleNamespace(precision="bf16-mixed", strategy=strategy)
    with pytest.raises(ConfigError, match=r"trainer\.precision=bf16-mixed, the first one 32-true: set the same in all"):
        task.on_fit_start()
