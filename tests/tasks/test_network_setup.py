"""Whole blocks are compiled once for batches of one shape, with the loss and gradients of the blocks as they were."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.autograd import Function

from tests.data.core.test_static_batches import TASKS, loss_and_gradients, made
from trimer.building import build
from trimer.cli.configs import compose
from trimer.errors import ConfigError
from trimer.models.esm2 import Esm2
from trimer.optim import adamw
from trimer.tasks.network_setup import compile_blocks, compile_network, zero_gradients

PROTEINS = [*TASKS["masked_lm"], "data.crop=62", "data.tokens_per_batch=512"]
# Task, and the number of kinds of blocks: a BART has those of the encoder and those of the decoder.
STUDIES = {
    "ESM2": (PROTEINS, 1),
    "BART": ([*TASKS["seq2seq"], "model.dropout=0.2", "data.tokens_per_batch=512"], 2),
    "classifier": ([*TASKS["classification"], "task.head.dropout=0.3"], 1),
    "peptide encoder": ([*TASKS["fragments"], "model.body=transformer", "model.dropout=0.2"], 1),
}
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


@pytest.fixture(params=["aot_eager"])
def backend(request, monkeypatch) -> str:
    """Replaces the C++ compiler by one that runs the captured graphs, forward and backward; fullgraph stays."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode=None, **settings: real(f, backend=request.param, **settings))
    torch._dynamo.reset()
    return request.param


def trainer(**settings) -> L.Trainer:
    cfg = compose("train", ["trainer=gpu_static", "trainer.accelerator=cpu", "trainer.precision=32-true"]).trainer
    return build({**cfg, "max_steps": 4, "val_check_interval": 2, "limit_val_batches": 2, **QUIET}, **settings)


class Compilations(L.Callback):
    """The number of compiled graphs before each training step and after each validation."""

    def __init__(self) -> None:
        self.before_steps: list[int] = []
        self.after_validations: list[int] = []

    def on_train_batch_start(self, *_) -> None:
        self.before_steps.append(counters["stats"]["unique_graphs"])

    def on_validation_end(self, *_) -> None:
        self.after_validations.append(counters["stats"]["unique_graphs"])


def check_training(name: str, folder) -> None:
    overrides, kinds = STUDIES[name]
    task, data = made(overrides, folder)
    task.optimizer_factory, task.compile_net, task.ready = partial(adamw, lr=1e-3), True, True
    names, seen = list(task.net.state_dict()), Compilations()
    counters.clear()
    trainer(callbacks=[seen]).fit(task, data)
    assert seen.before_steps[:2] == [0, kinds], "each kind of block is compiled once, for all layers"
    assert seen.after_validations == [2 * kinds] * 2 and set(seen.before_steps[2:]) == {2 * kinds}
    assert list(task.net.state_dict()) == names
    task.net.eval()  # dropout draws other numbers in other kernels
    loader = data.train_dataloader()
    batches = [loader.dataset[key] for key in list(loader.sampler.plan.epoch(1))[:2]]
    compiled = [loss_and_gradients(task, batch) for batch in batches]
    plain = [loss_and_gradients(without_compilation(task), batch) for batch in batches]
    for (loss, count, gradients), (expected, expected_count, expected_gradients) in zip(compiled, plain, strict=True):
        assert count == expected_count and loss == pytest.approx(expected, rel=1e-5)
        scale = float(expected_gradients.abs().max())
        torch.testing.assert_close(gradients, expected_gradients, atol=2e-5 * scale, rtol=1e-3)


def without_compilation(task):
    for module in task.net.modules():
        vars(module).pop("forward", None)
    return task


@pytest.mark.parametrize("name", STUDIES)
def test_whole_blocks_are_compiled_once_with_the_same_loss_and_gradients(name, backend, tmp_path):
    """A graph break, and a compilation after the second step and its validation, are errors."""
    check_training(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["inductor"], indirect=True)
def test_blocks_compiled_to_c_give_the_same_loss_and_gradients(backend, tmp_path):
    check_training("ESM2", tmp_path)


def test_bf16_blocks_give_the_loss_of_plain_ones(backend, tmp_path):
    task, data = made(PROTEINS, tmp_path)
    loader = data.train_dataloader()
    batch = loader.dataset[next(iter(loader.sampler.plan.epoch(0)))]
    compile_blocks(task.net)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, gradients = loss_and_gradients(task, batch)
        expected, _, expected_gradients = loss_and_gradients(without_compilation(task), batch)
    assert loss == pytest.approx(expected, rel=1e-2)
    assert (gradients - expected_gradients).abs().max() < 2e-2 * expected_gradients.abs().max()


@torch.no_grad()
def test_flat_batches_compile_no_block(backend, tmp_path):
    """Predictions during a training, whose batches have another shape each time."""
    task, data = made(PROTEINS, tmp_path)
    loader = data.train_dataloader()
    batch = loader.dataset.dataset[next(iter(loader.sampler.plan.epoch(0)))]
    expected = task.net(batch.sequence)
    compile_blocks(task.net)
    counters.clear()
    assert torch.equal(task.net(batch.sequence), expected) and not counters["stats"]


def test_networks_without_blocks_are_rejected():
    with pytest.raises(ConfigError, match=r"model=Linear has no nn\.ModuleList of blocks: set task\.compile=false"):
        compile_network(nn.Linear(2, 2), trainer())


def test_cuda_graphs_with_checkpointing_are_rejected():
    net = Esm2(d_model=8, layers=1, heads=2, checkpointing=True)
    with pytest.raises(ConfigError, match=r"set model\.checkpointing=false or trainer\.cuda_graphs=false"):
        compile_blocks(net, cuda_graphs=True)


# ---------------------------------------------------------------- CUDA graphs, with a stand-in


class Replay(Function):
    """A forward and a backward pass whose gradients are always at the same address, as those of CUDA graphs."""

    @staticmethod
    def forward(ctx, function, buffers, x, others, *parameters):
        with torch.enable_grad():
            ctx.inputs = [x.detach().requires_grad_(), *parameters]
            ctx.out = function(ctx.inputs[0], *others)
        ctx.buffers = buffers
        return ctx.out.detach()

    @staticmethod
    def backward(ctx, grad):
        gradients = torch.autograd.grad(ctx.out, ctx.inputs, grad)
        if not ctx.buffers:
            ctx.buffers += [torch.empty_like(gradient) for gradient in gradients]
        x, *parameters = [
            buffer.copy_(gradient).detach() for buffer, gradient in zip(ctx.buffers, gradients, strict=True)
        ]
        return None, None, x.clone(), None, *parameters


def replayed(function, mode=None, **settings):
    """Stands in for torch.compile."""
    buffers: list[torch.Tensor] = []
    parameters = list(function.__self__.parameters())
    run = lambda x, *others: Replay.apply(function, buffers, x, others, *parameters)  # noqa: E731
    return run if mode == "reduce-overhead" else function


@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_gradients_of_cuda_graphs_add_up_over_batches(cuda_graphs, monkeypatch, tmp_path):
    """If gradients were None before a step, autograd would keep the buffer that the next batch overwrites."""
    task, data = made(PROTEINS, tmp_path)
    loader = data.train_dataloader()
    batches = [loader.dataset[key] for key in list(loader.sampler.plan.epoch(0))[:2]]
    optimizer = torch.optim.SGD(task.net.parameters())

    def summed(trainer) -> torch.Tensor:
        zero_gradients(task.net, optimizer, trainer)
        for batch in batches:
            task.training_step(batch, 0).backward()
        return torch.cat([parameter.grad.flatten() for parameter in task.net.parameters()])

    expected = summed(None)
    monkeypatch.setattr(torch, "compile", replayed)
    compile_blocks(task.net, cuda_graphs=True)
    gradients = [summed(SimpleNamespace(cuda_graphs=cuda_graphs)) for _ in range(2)]
    same = [torch.allclose(gradient, expected, atol=1e-4) for gradient in gradients]
    assert same == [cuda_graphs] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["ESM2", "BART"])
def test_training_with_cuda_graphs_gives_the_weights_of_a_training_without(name, tmp_path):
    """Two batches in each step, and a validation between the steps."""
    task, data = made(STUDIES[name][0], tmp_path)
    task.cuda().net.eval()  # without dropout
    loader = data.train_dataloader()
    batches = [loader.dataset[key].to("cuda") for key in list(loader.sampler.plan.epoch(0))[:2]]
    initial = {key: value.clone() for key, value in task.net.state_dict().items()}
    weights = []
    for cuda_graphs in (False, True):
        task.net.load_state_dict(initial)
        if cuda_graphs:
            compile_blocks(task.net, cuda_graphs=True)
        optimizer = torch.optim.SGD(task.net.parameters(), lr=1e-4)
        for _ in range(4):
            zero_gradients(task.net, optimizer, SimpleNamespace(cuda_graphs=cuda_graphs))
            with torch.autocast("cuda", torch.bfloat16):
                for batch in batches:
                    task.training_step(batch, 0).backward()
                with torch.inference_mode():
                    task.training_step(batches[0], 0)
            optimizer.step()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in task.net.parameters()]))
    assert (weights[0] - torch.cat([initial[key].flatten() for key, _ in task.net.named_parameters()])).abs().max() > 0
    torch.testing.assert_close(*weights, atol=1e-3, rtol=1e-2)
