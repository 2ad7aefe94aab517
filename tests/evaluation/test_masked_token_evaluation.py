"""A masked language model compared with trivial baselines: means over positions, independent of the batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.masking import Masking
from trimer.errors import InputError
from trimer.evaluation.masked_token_evaluation import MaskedPredictions, evaluate_language
from trimer.models.esm2 import Esm2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    overrides = ["data=simulated_proteins", "data.source.proteins=300", f"paths.cache={tmp_path_factory.mktemp('c')}"]
    data = build(compose("train", overrides).data)
    data.setup()
    return data


def test_perplexity_comes_from_the_summed_loss():
    loss, sequence = np.array([1.0, 1.0, 1.0, 4.0]), np.array([0, 0, 0, 1])
    predictions = MaskedPredictions(
        loss, sequence, np.zeros(4, int), np.array([0, 1, 1, 1], bool), np.array([1, 1, 1, 0], bool)
    )
    metrics = predictions.measured().values
    assert metrics["loss"] == pytest.approx(7 / 4)
    assert metrics["perplexity"] == pytest.approx(math.exp(7 / 4))
    assert metrics["hidden_perplexity"] == pytest.approx(math.exp(6 / 3))
    assert metrics["token_accuracy"] == pytest.approx(0.75)
    assert metrics["masked_tokens"] == 4
    assert 0.3 < metrics["loss_std_error"] < 1.5


def test_the_evaluation_writes_a_table_and_per_residue_values(data, tmp_path):
    torch.manual_seed(0)
    net = Esm2(d_model=32, layers=1, heads=2).eval()
    evaluation = evaluate_language(net, data.tokenizer, data, "val", name="untrained")
    rows = {row["method"]: row["values"] for row in evaluation.table.ordered()}
    assert [row["kind"] for row in evaluation.table.ordered()] == ["baseline"] * 3 + ["method"]
    assert len({values["masked_tokens"] for values in rows.values()}) == 1, "all methods predict the same positions"
    assert rows["untrained"]["perplexity"] > rows["trivial baseline: residue frequencies"]["perplexity"]
    frequencies = rows["trivial baseline: residue frequencies"]
    assert frequencies["perplexity"] < 21
    difference = rows["untrained"]["perplexity"] - frequencies["perplexity"]
    assert frequencies["perplexity_difference"] == pytest.approx(difference)
    assert 0 < frequencies["perplexity_difference_std_error"] < difference / 2, "paired by the same sequences"
    total = sum(row["loss"] * row["masked_tokens"] for row in evaluation.residues)
    assert total / evaluation.metrics["masked_tokens"] == pytest.approx(evaluation.metrics["loss"], abs=1e-3)
    evaluation.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "table.csv", "table.json", "residues.csv"}
    assert evaluation.split_metrics("val")["val/loss"] == evaluation.metrics["loss"]


def test_metrics_do_not_depend_on_the_batch_size(data):
    torch.manual_seed(0)
    net = Esm2(d_model=32, layers=1, heads=2).eval()
    losses = []
    for tokens in (1000, 20000):
        data.tokens_per_batch = tokens
        losses.append(evaluate_language(net, data.tokenizer, data, "test", baselines=False).metrics["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_split_without_masked_tokens_is_reported(data, monkeypatch):
    monkeypatch.setattr(data, "validation_masking", Masking(1e-9, 0.8, 0.1))
    with pytest.raises(InputError, match=r"no token is masked in the \d+ sequences of the split val"):
        evaluate_language(Esm2(d_model=32, layers=1, heads=2), data.tokenizer, data, "val")
