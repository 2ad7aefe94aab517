"""The plan of the learning rate: for schedules in steps and epochs, of Trimer and of PyTorch, without training."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from trimer.callbacks.schedule import planned_rates
from trimer.optim import WarmupPlateau, warmup_cosine


def plan(factory, **trainer) -> dict[int, float]:
    """Step -> planned rate, for a peak of 0.1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = factory(optimizer)
    settings = {"max_steps": -1, "max_epochs": -1, "num_training_batches": 6, "accumulate_grad_batches": 2, **trainer}
    module = SimpleNamespace(lr_schedulers=lambda: schedule, scheduler_factory=factory)
    return dict(planned_rates(SimpleNamespace(**settings), module) or [])


def test_the_plan_is_the_rate_of_each_step():
    factory = partial(warmup_cosine, total_steps=20, warmup=4, min_lr_ratio=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, rates = factory(optimizer), []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    planned = plan(factory, max_steps=20)
    assert list(planned) == list(range(20)) and list(planned.values()) == pytest.approx(rates)
    assert max(planned, key=planned.__getitem__) == 4  # the end of the warm-up
    assert len(plan(factory, max_steps=100_000)) == 400


def test_a_schedule_in_epochs_is_planned_in_steps():
    planned = plan(partial(WarmupPlateau, warmup=2, interval="epoch"), max_epochs=3)
    assert planned == pytest.approx({step: 0.05 if step < 3 else 0.1 for step in range(9)})


def test_a_schedule_of_pytorch_is_followed_step_by_step():
    planned = plan(partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5), max_steps=5)
    assert list(planned.values()) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


def test_a_training_without_an_end_has_no_plan():
    assert plan(partial(WarmupPlateau, warmup=2)) == {}
