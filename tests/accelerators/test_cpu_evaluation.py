"""During a training on an XLA device, a copy of the network on the CPU computes batches of other shapes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchmetrics import MeanMetric

from tests.data.core.test_static_batches import TASKS, made
from trimer.accelerators import cpu_evaluation
from trimer.accelerators.cpu_evaluation import any_shapes, cpu_copy
from trimer.accelerators.trainer import StaticTrainer
from trimer.tasks.network_setup import compile_network


@pytest.fixture
def xla(monkeypatch) -> None:
    """Makes the CPU pass for an XLA device."""
    monkeypatch.setattr(cpu_evaluation, "XLA_TYPES", ("cpu",))


def test_a_copy_has_the_weights_but_neither_their_memory_nor_the_hooks():
    net = nn.Sequential(nn.Embedding(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 5, bias=False))
    net[2].weight = net[0].weight
    net[1].weight.requires_grad_(False)
    calls: list[int] = []
    net.register_forward_hook(lambda *_: calls.append(1))
    net[0].register_forward_pre_hook(lambda *_: calls.append(2))
    copied = cpu_copy(net.eval())
    tokens = torch.arange(3)
    assert torch.equal(copied(tokens), net(tokens)) and calls == [2, 1]
    assert copied[2].weight is copied[0].weight and not copied[1].weight.requires_grad
    assert isinstance(copied[0].weight, nn.Parameter) and not copied.training


def test_a_task_evaluates_with_a_copy_and_then_continues_with_its_network(xla, tmp_path):
    task, data = made([*TASKS["classification"], "task.class_weights=balanced"], tmp_path)
    net, weights = task.net, task.weights
    expected = task.evaluate(data.evaluation_batches("val"))
    with any_shapes(task):
        assert task.net is not net and task.weights is not None
        assert task.evaluate(data.evaluation_batches("val")) == pytest.approx(expected)
    assert task.net is net and task.weights is weights
    assert task.evaluate(data.evaluation_batches("val")) == pytest.approx(expected)


def test_metrics_of_a_validation_in_progress_stay(xla, tmp_path):
    task, _ = made(TASKS["classification"], tmp_path)
    begun, other = MeanMetric(), MeanMetric()
    task.begun, task.other = begun, other
    begun.update(3.0)
    with any_shapes(task):
        other.update(5.0)
    assert begun.compute() == 3.0
    assert not other.update_called


def test_an_error_in_an_evaluation_gives_the_network_back(xla, tmp_path):
    task, _ = made(TASKS["masked_lm"], tmp_path)
    net = task.net
    with pytest.raises(RuntimeError), any_shapes(task):
        raise RuntimeError
    assert task.net is net


def test_other_devices_evaluate_with_the_network_itself(tmp_path):
    task = SimpleNamespace(device=torch.device("cpu"), net=object())
    net = task.net
    with any_shapes(task):
        assert task.net is net


def test_an_xla_device_needs_no_torch_compile(monkeypatch):
    """`task.compile=true` of a recipe for GPUs: XLA compiles each step as a whole."""
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("torch.compile"))
    compile_network(nn.Linear(2, 2), object.__new__(StaticTrainer))
