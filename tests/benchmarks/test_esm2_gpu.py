"""The GPU benchmark of ESM2, as far as a CPU can test it: micro-batches of the compared code, and failing rows."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the checkout")


@pytest.fixture
def benchmark(monkeypatch) -> types.ModuleType:
    pytest.importorskip("esm")
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("esm2_gpu")


def test_micro_batches_hold_every_protein_once_within_the_padded_budget(benchmark):
    lengths = np.random.default_rng(0).integers(20, 900, 80)
    batch = [(np.full(n, i), np.full(n, -100)) for i, n in enumerate(lengths)]
    cut = benchmark.micro_batches(batch, 2000)
    assert sorted(int(tokens[0]) for part in cut for tokens, _ in part) == list(range(80))
    assert all(len(part) * max(len(tokens) for tokens, _ in part) <= 2000 for part in cut)
    assert max(len(part) for part in cut) > 10
    padded = sum(len(part) * max(len(tokens) for tokens, _ in part) for part in cut)
    assert padded < 1.15 * lengths.sum() < 80 * lengths.max()


def test_a_protein_beyond_the_budget_has_its_micro_batch(benchmark):
    batch = [(np.zeros(n), np.zeros(n)) for n in (3000, 10, 10)]
    assert [[len(tokens) for tokens, _ in part] for part in benchmark.micro_batches(batch, 2000)] == [[10, 10], [3000]]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory"),
        (ImportError("no flash_attn\nmore"), "no flash_attn"),
    ],
)
def test_a_failing_row_states_the_reason(benchmark, error, failure):
    def run():
        raise error

    assert benchmark.guarded(run).failure == failure


def test_other_errors_end_the_benchmark(benchmark):
    with pytest.raises(RuntimeError, match="a fault"):
        benchmark.guarded(lambda: (_ for _ in ()).throw(RuntimeError("a fault")))


def test_missing_flash_attn_raises_an_import_error(benchmark):
    transformers = pytest.importorskip("transformers")
    if transformers.utils.is_flash_attn_2_available():
        pytest.skip("flash-attn is installed")
    net = benchmark.Esm2(d_model=32, layers=1, heads=2)
    row = benchmark.guarded(lambda: benchmark.theirs(net, [], "flash_attention_2", 100))
    assert "lash" in row.failure
