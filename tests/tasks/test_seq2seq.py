"""The seq2seq task: steps independent of accumulation, learning, golden loss curve."""

from __future__ import annotations

import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trimer.data.core.batches import PairBatch
from trimer.models.bart import Bart
from trimer.optim import adamw
from trimer.tasks.seq2seq import Seq2Seq

GOLDEN = Path(__file__).parent / "golden_seq2seq.json"


def pairs(count: int, seed: int = 0, shortest: int = 3):
    """Targets are the sources in reverse, so there is something to learn; lengths differ much."""
    rng = np.random.default_rng(seed)
    sources = [np.r_[0, rng.integers(5, 30, rng.integers(shortest, 20)), 2] for _ in range(count)]
    return sources, [np.r_[0, s[1:-1][::-1], 2] for s in sources]


def batches(sources, targets, size: int):
    rows = np.arange(len(sources))
    return [PairBatch.pack(sources[i : i + size], targets[i : i + size], rows[i : i + size]) for i in rows[::size]]


def task(seed: int = 0, lr: float = 1e-3, dropout: float = 0.0) -> Seq2Seq:
    torch.manual_seed(seed)
    net = Bart(32, d_model=32, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2, encoder_ffn=64,
               decoder_ffn=64, dropout=dropout)  # fmt: skip
    return Seq2Seq(net, None, optimizer=lambda parameters: adamw(parameters, lr=lr, weight_decay=0.0, fused=False))


def trainer(**settings) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(
        accelerator="cpu", devices=1, log_every_n_steps=1, use_distributed_sampler=False, **quiet, **settings
    )


def fit(module: Seq2Seq, data, steps: int, **settings) -> L.Trainer:
    fitted = trainer(max_steps=steps, **settings)
    fitted.fit(module, DataLoader(data, batch_size=None))
    return fitted


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_step_does_not_depend_on_accumulation(size):
    sources, targets = pairs(8)
    undivided, divided = task(), task()
    fit(undivided, batches(sources, targets, 8), 1)
    fit(divided, batches(sources, targets, size), 1, accumulate_grad_batches=8 // size)
    for name, weight in undivided.state_dict().items():
        assert torch.allclose(divided.state_dict()[name], weight, atol=2e-6), name


def test_gradients_are_clipped_after_division_by_the_count():
    sources, targets = pairs(8)
    seen = {}

    class Norm(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            seen["before"] = torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()

    module, batch = task(), batches(sources, targets, 8)[0]
    fit(module, [batch], 1, callbacks=[Norm()])
    fresh = task()
    loss = torch.nn.functional.cross_entropy(fresh.net(batch.source, batch.target), batch.labels)
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in fresh.parameters() if p.grad is not None]).norm()
    # Callbacks run before the module's own hook, so they still see the sum.
    assert seen["before"] == pytest.approx(norm.item() * batch.labels.numel(), rel=1e-4)
    clipped = torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()
    assert clipped == pytest.approx(norm.item(), rel=1e-4)


def test_overfits_a_small_batch():
    sources, targets = pairs(4)
    module = task(lr=5e-3)
    fitted = fit(module, batches(sources, targets, 4), 300)
    assert fitted.callback_metrics["train/loss"] < 0.02


def test_validation_loss_is_the_mean_per_token():
    sources, targets = pairs(9)
    module = task()
    loaders = [DataLoader(batches(sources, targets, size), batch_size=None) for size in (9, 2)]
    values = [trainer().validate(module, loader, verbose=False)[0] for loader in loaders]
    assert values[0]["val/loss"] == pytest.approx(values[1]["val/loss"], rel=1e-5)
    assert values[0]["val/perplexity"] == pytest.approx(np.exp(values[0]["val/loss"]), rel=1e-5)


def test_golden_loss_curve():
    """A refactoring gives the same losses. After an intended change, delete the file and run the test twice."""
    sources, targets = pairs(40, seed=1)
    module, losses = task(seed=1), []

    class Record(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item() / batch.labels.numel())

    fit(module, batches(sources, targets, 4) * 2, 20, callbacks=[Record()])
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps([round(loss, 6) for loss in losses]) + "\n")
        pytest.fail(f"{GOLDEN.name} was written: check it and run the test again")
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=2e-4)
