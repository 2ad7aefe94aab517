"""Throughput counts real tokens over training time without validation; MFU is operations over the peak."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from trimer.callbacks import throughput as module
from trimer.callbacks.throughput import Throughput, peak_of


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def parts(world: int = 1):
    logged: dict[str, float] = {}
    task = SimpleNamespace(
        work=Counter(),
        total_work=Counter(),
        device=torch.device("cpu"),
        real_tokens=0,
        log=lambda name, value, **_: logged.update({name: value}),
    )

    def share_work() -> Counter:
        task.total_work = Counter({name: world * value for name, value in task.work.items()})
        return task.total_work

    task.share_work = share_work
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_should_accumulate=lambda: False))
    return SimpleNamespace(fit_loop=loop, global_step=10, log_every_n_steps=10, world_size=world), task, logged


def test_throughput_excludes_validation_time(clock):
    trainer, task, logged = parts(world=2)
    callback = Throughput(peak=0.5)
    callback.on_train_start(trainer, task)
    task.work.update(tokens=3000, residues=2900, flops=1e12)
    clock.now += 4
    callback.on_validation_start(trainer, task)
    clock.now += 1000
    callback.on_validation_end(trainer, task)
    callback.on_train_batch_end(trainer, task, None, None, 0)
    assert logged["tokens_per_second"] == pytest.approx(1500)  # for two devices
    assert logged["residues_per_second"] == pytest.approx(1450)
    assert logged["mfu"] == pytest.approx(1e12 / 4 / 0.5e12)  # for one device
    task.work.update(tokens=100)
    clock.now += 1
    callback.on_train_batch_end(trainer, task, None, None, 0)
    assert logged["tokens_per_second"] == pytest.approx(200), "only what came since the last logging"


def test_mfu_is_omitted_for_an_unknown_peak(clock):
    trainer, task, logged = parts()
    callback = Throughput()
    callback.on_train_start(trainer, task)
    task.work.update(tokens=10, flops=1e9)
    clock.now += 1
    callback.on_train_batch_end(trainer, task, None, None, 0)
    assert "mfu" not in logged and "flops_per_second" not in logged
    trainer.global_step = 11
    logged.clear()
    callback.on_train_batch_end(trainer, task, None, None, 1)
    assert not logged, "only on the logging interval"


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA GH200 480GB", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", None),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_the_peak_is_that_of_the_exact_device(name, peak):
    assert peak_of(name) == peak
