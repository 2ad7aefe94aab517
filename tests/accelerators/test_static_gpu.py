"""The trainer for batches of one shape accepts what it can train with, and rejects the rest in one sentence."""

from __future__ import annotations

import pytest

from trimer.building import build
from trimer.cli.configs import compose
from trimer.commands.train import check_settings
from trimer.errors import ConfigError

CPU = ["trainer=gpu_static", "trainer.accelerator=cpu", "trainer.precision=32-true"]


def test_it_runs_on_the_cpu_too():
    trainer = build(compose("train", [*CPU, "trainer.row_length=256"]).trainer)
    assert (trainer.row_length, trainer.cuda_graphs, trainer.world_size) == (256, False, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*CPU, "trainer.row_length=0"], r"trainer\.row_length=0 must be 1 or more, or null"),
        (
            [*CPU, "trainer.cuda_graphs=true"],
            r"cuda_graphs=true runs on one GPU: it needs trainer\.accelerator=gpu, not cpu",
        ),
        (
            ["trainer=gpu_static", "trainer.cuda_graphs=true", "trainer.devices=2"],
            r"cuda_graphs=true runs on one GPU: it needs trainer\.devices=1, not 2",
        ),
    ],
)
def test_what_does_not_work_is_rejected(overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(compose("train", overrides).trainer)
    assert "\n" not in str(caught.value)


def test_cuda_graphs_need_compiled_blocks():
    with pytest.raises(ConfigError, match=r"trainer\.cuda_graphs=true runs compiled blocks: set task\.compile=true"):
        check_settings(compose("train", [*CPU, "experiment=cramming/sample", "trainer.cuda_graphs=true"]))
