"""Masked language modelling: the loss is a sum over a count however a step is cut up; no masked place is no failure."""

from __future__ import annotations

import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trimer.data.core.batches import MaskedBatch
from trimer.models.esm2 import MASK, Esm2
from trimer.optim import adamw
from trimer.tasks.masked_lm import MaskedLM

GOLDEN = Path(__file__).parent / "golden_masked_lm.json"


def sequences(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Runs of one residue, a few of them masked: easy to learn, of very different lengths and counts of masks."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        tokens = np.r_[0, np.full(rng.integers(2, 40), rng.integers(4, 24)), 2]
        hit = rng.random(len(tokens)) < rng.choice([0.05, 0.4])
        hit[[0, -1]] = False
        found.append((tokens, hit))
    return found


def packed(some: list[tuple[np.ndarray, np.ndarray]]) -> MaskedBatch:
    tokens, hit = (np.concatenate(part) for part in zip(*some, strict=True))
    places = np.flatnonzero(hit)
    lengths = np.array([len(sequence) for sequence, _ in some])
    return MaskedBatch.pack(np.where(hit, MASK, tokens), lengths, places, tokens[places], np.arange(len(some)))


def batches(some: list, size: int) -> list[MaskedBatch]:
    return [packed(some[i : i + size]) for i in range(0, len(some), size)]


def task(lr: float = 1e-3) -> MaskedLM:
    torch.manual_seed(0)
    net = Esm2(d_model=32, layers=2, heads=2)
    return MaskedLM(net, None, optimizer=lambda parameters: adamw(parameters, lr=lr, weight_decay=0.0, fused=False))


def fit(module: MaskedLM, data: list, steps: int, **settings) -> L.Trainer:
    quiet = {name: False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")}
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=steps, log_every_n_steps=1, use_distributed_sampler=False,
        **quiet, **settings,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=None))
    return trainer


def weights(module: MaskedLM) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.net.parameters()])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_step_is_the_same_however_it_is_accumulated(size):
    some = sequences(16)
    whole, parts = task(), task()
    fit(whole, batches(some, 8), 2)
    fit(parts, batches(some, size), 2, accumulate_grad_batches=8 // size)
    assert (weights(whole) - weights(parts)).abs().max() < 2e-6
    assert (weights(whole) - weights(task())).abs().max() > 1e-3


def test_a_batch_without_a_masked_place_changes_nothing():
    tokens = np.r_[0, np.full(9, 5), 2]
    nothing = packed([(tokens, np.zeros(11, bool))])
    alone, beside = task(), task()
    some = batches(sequences(4), 4)
    fit(alone, [nothing], 1)
    assert weights(alone).isfinite().all()
    fit(beside, [nothing, *some], 1, accumulate_grad_batches=2)
    plain = task()
    fit(plain, some, 1)
    assert (weights(beside) - weights(plain)).abs().max() < 2e-6


def test_it_learns_and_counts_its_work():
    module, data = task(3e-3), batches(sequences(64), 16)
    fit(module, data * 40, 120)
    logits = module.net(data[0].sequence, data[0].positions)
    assert (logits.argmax(-1) == data[0].labels).float().mean() > 0.9
    tokens = 30 * sum(batch.real_tokens for batch in data)
    assert module.work["tokens"] == tokens == module.real_tokens
    assert module.work["residues"] == tokens - 30 * 2 * 64
    assert module.work["flops"] == 30 * sum(
        module.net.training_flops(batch.sequence.sizes, len(batch.positions)) for batch in data
    )


def test_validation_is_the_loss_per_masked_token_of_all_batches():
    module, some = task(), sequences(24)
    results = []
    for size in (1, 5, 24):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = L.Trainer(accelerator="cpu", devices=1, use_distributed_sampler=False, **quiet)
        results.append(trainer.validate(module, DataLoader(batches(some, size), batch_size=None), verbose=False)[0])
    batch = packed(some)
    expected = torch.nn.functional.cross_entropy(module.net(batch.sequence, batch.positions), batch.labels)
    for result in results:
        assert result["val/loss"] == pytest.approx(float(expected), abs=1e-5)
        assert result["val/perplexity"] == pytest.approx(float(expected.exp()), rel=1e-5)


@pytest.mark.slow
def test_compiled_parts_compute_the_same_and_keep_their_names():
    module, plain = task(), task()
    compiled = MaskedLM(module.net, None, module.optimizer_factory, compile=True)
    names = list(module.net.state_dict())
    fit(compiled, batches(sequences(16), 4), 3)
    fit(plain, batches(sequences(16), 4), 3)
    assert list(compiled.net.state_dict()) == names
    assert (weights(compiled) - weights(plain)).abs().max() < 1e-4


def test_the_curve_of_twenty_steps_is_the_golden_one():
    """A refactoring gives the same losses. After a wanted change: delete the file and run the test twice."""
    module, losses = task(), []

    class Record(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item() / max(len(batch.labels), 1))

    fit(module, batches(sequences(40, seed=1), 4) * 2, 20, callbacks=[Record()])
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps([round(loss, 6) for loss in losses]) + "\n")
        pytest.fail(f"{GOLDEN.name} was written: look at it and run the test again")
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=2e-4)
