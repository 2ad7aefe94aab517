"""Masked language modelling: steps independent of batches, batches without masked tokens, golden loss curve."""

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
    examples = []
    for _ in range(count):
        tokens = np.r_[0, np.full(rng.integers(2, 40), rng.integers(4, 24)), 2]
        hit = rng.random(len(tokens)) < rng.choice([0.05, 0.4])
        hit[[0, -1]] = False
        examples.append((tokens, hit))
    return examples


def packed(examples: list[tuple[np.ndarray, np.ndarray]]) -> MaskedBatch:
    tokens, hit = (np.concatenate(arrays) for arrays in zip(*examples, strict=True))
    positions = np.flatnonzero(hit)
    lengths = np.array([len(sequence) for sequence, _ in examples])
    return MaskedBatch.pack(
        np.where(hit, MASK, tokens), lengths, positions, tokens[positions], np.arange(len(examples))
    )


def batches(examples: list, size: int) -> list[MaskedBatch]:
    return [packed(examples[i : i + size]) for i in range(0, len(examples), size)]


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
def test_a_step_does_not_depend_on_accumulation(size):
    examples = sequences(16)
    undivided, divided = task(), task()
    fit(undivided, batches(examples, 8), 2)
    fit(divided, batches(examples, size), 2, accumulate_grad_batches=8 // size)
    assert (weights(undivided) - weights(divided)).abs().max() < 2e-6
    assert (weights(undivided) - weights(task())).abs().max() > 1e-3


def test_a_batch_without_masked_tokens_changes_nothing():
    tokens = np.r_[0, np.full(9, 5), 2]
    unmasked = packed([(tokens, np.zeros(11, bool))])
    unmasked_only, with_unmasked = task(), task()
    examples = batches(sequences(4), 4)
    fit(unmasked_only, [unmasked], 1)
    assert weights(unmasked_only).isfinite().all()
    fit(with_unmasked, [unmasked, *examples], 1, accumulate_grad_batches=2)
    plain = task()
    fit(plain, examples, 1)
    assert (weights(with_unmasked) - weights(plain)).abs().max() < 2e-6


def test_training_reduces_the_loss_and_counts_work():
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


def test_validation_loss_is_the_mean_per_masked_token():
    module, examples = task(), sequences(24)
    results = []
    for size in (1, 5, 24):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = L.Trainer(accelerator="cpu", devices=1, use_distributed_sampler=False, **quiet)
        results.append(trainer.validate(module, DataLoader(batches(examples, size), batch_size=None), verbose=False)[0])
    batch = packed(examples)
    expected = torch.nn.functional.cross_entropy(module.net(batch.sequence, batch.positions), batch.labels)
    for result in results:
        assert result["val/loss"] == pytest.approx(float(expected), abs=1e-5)
        assert result["val/perplexity"] == pytest.approx(float(expected.exp()), rel=1e-5)


def test_compiled_layers_give_the_same_results_and_keep_their_names():
    """With the kernels of the default backend; other tests run the captured graphs as they are."""
    module, plain = task(), task()
    compiled = MaskedLM(module.net, None, module.optimizer_factory, compile=True)
    names = list(module.net.state_dict())
    torch._dynamo.utils.counters.clear()
    fit(compiled, batches(sequences(16), 4), 3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    fit(plain, batches(sequences(16), 4), 3)
    assert list(compiled.net.state_dict()) == names
    assert (weights(compiled) - weights(plain)).abs().max() < 1e-4


def test_golden_loss_curve():
    """A refactoring gives the same losses. After an intended change, delete the file and run the test twice."""
    module, losses = task(), []

    class Record(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item() / max(len(batch.labels), 1))

    fit(module, batches(sequences(40, seed=1), 4) * 2, 20, callbacks=[Record()])
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps([round(loss, 6) for loss in losses]) + "\n")
        pytest.fail(f"{GOLDEN.name} was written: check it and run the test again")
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=2e-4)
