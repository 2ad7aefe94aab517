"""Shared by the speed benchmarks: fair comparisons, ratios, and the FLOPs from which MFU is computed."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the checkout")
pytest.importorskip("transformers")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def side_by_side(load) -> types.ModuleType:
    return load("side_by_side")


def test_the_best_peer_is_the_fastest_of_the_same_precision(side_by_side):
    seconds = {
        "transformers, fp32": [4.0, 4.0],
        "transformers sorted, fp32": [2.0, 3.0],
        "transformers, bf16": [1.0, 1.0],
        "trimer, fp32": [1.0, 2.0],
        "trimer, int8": [1.0, 1.0],
    }
    assert side_by_side.best_peer(seconds, "fp32") == "transformers sorted, fp32"
    assert side_by_side.best_peer(seconds, "int8") is None
    assert side_by_side.paired_ratio(seconds, "trimer, fp32", "transformers sorted, fp32") == (1.75, 1.5, 2.0)
    assert side_by_side.best_peer_lines(seconds) == [
        "trimer, fp32: 1.75 times (1.50 to 2.00) the best fp32 peer, transformers sorted, fp32",
        "trimer, int8: 2.50 times (2.00 to 3.00) the best fp32 peer, transformers sorted, fp32",
    ]


def test_sorted_micro_batches_give_the_gradient_of_the_batch(side_by_side, load, monkeypatch):
    training = load("esm2_training")
    items = training.proteins(8, None, longest=40)
    monkeypatch.setattr(side_by_side, "adamw", lambda parameters, lr: torch.optim.SGD(parameters, lr=1.0))
    weights = []
    for micro in (8, 2):
        torch.manual_seed(0)
        model = training.huggingface_model(training.Esm2(layers=1, d_model=16, heads=2))
        loop = side_by_side.sorted_micro_batches
        loop(model, items, training.padded, 8, micro, bf16=False, length=training.length_of)()
        weights.append(torch.cat([weight.flatten() for weight in model.parameters()]))
    assert torch.allclose(*weights, atol=1e-5)


def test_the_flops_of_bart_are_those_of_its_matrix_products(load):
    training = load("bart_training")
    torch.manual_seed(0)
    net = training.Bart(64, d_model=16, encoder_layers=1, decoder_layers=2, encoder_ffn=32, decoder_ffn=48)
    pair = (np.r_[0, np.arange(5, 17), 2], np.r_[0, np.arange(5, 12), 2])
    model = training.huggingface_model(net).eval()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**training.padded([pair]))
    written = len(pair[1]) - 1
    masked = 2 * 4 * 16 * (written**2 - written * (written + 1) // 2)  # by two layers, and needed by none
    assert training.training_flops(net, [pair]) == 3 * (counter.get_total_flops() - masked)


def test_peaks_are_positive_for_both_precisions(load, monkeypatch):
    machine = load("machine")
    monkeypatch.setattr(machine, "SHAPES", ((256, 256, 256),))
    peaks = machine.product_peaks(repeats=2)
    assert set(peaks) == {"fp32", "bf16"}
    assert min(peaks.values()) > 0
    assert machine.chosen_precision() in peaks


def test_a_cpu_without_cpuinfo_has_a_name(load, tmp_path):
    machine = load("machine")
    assert machine.cpu_name(str(tmp_path / "none"))
    (tmp_path / "cpuinfo").write_text("cpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Some CPU\nflags\t\t: avx512f\n")
    assert machine.cpu_name(str(tmp_path / "cpuinfo")) == "Some CPU, family 6, model 143, avx512f"


def test_generated_texts_have_the_likelihood_of_the_search(load):
    generation = load("generation")
    torch.manual_seed(0)
    net = generation.Bart(32, d_model=16, encoder_layers=1, decoder_layers=1, dropout=0.0).eval()
    sources = generation.sources_of(2, 32, seed=0)
    beams = generation.beam_search(net, generation.Flat.pack(sources), 10, max_length=12)
    texts = [hypothesis.tokens for hypotheses in beams for hypothesis in hypotheses]
    expected = [hypothesis.log_likelihood for hypotheses in beams for hypothesis in hypotheses]
    assert len(texts) == 20
    assert generation.log_likelihoods(net, sources, texts) == pytest.approx(expected, abs=1e-3)
