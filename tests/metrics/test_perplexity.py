"""Loss and perplexity are sums over tokens."""

from __future__ import annotations

import math

import pytest
import torch

from trimer.metrics.perplexity import TokenLoss


def test_loss_is_weighted_by_tokens_not_by_batches():
    metric = TokenLoss()
    metric.update(torch.tensor(10.0), torch.tensor(10), torch.tensor(5))
    metric.update(torch.tensor(0.0), torch.tensor(30), torch.tensor(30))
    values = metric.compute()
    assert values == pytest.approx({"loss": 0.25, "perplexity": math.exp(0.25), "token_accuracy": 35 / 40})


def test_perplexity_does_not_depend_on_the_batches():
    losses = torch.rand(1000, dtype=torch.float64)
    single_batch, batches = TokenLoss(), TokenLoss()
    single_batch.update(losses.sum(), 1000, 0)
    for part in losses.split([1, 9, 90, 900]):
        batches.update(part.sum(), len(part), 0)
    assert single_batch.compute() == pytest.approx(batches.compute())


def test_accuracy_is_omitted_where_it_was_not_counted():
    metric = TokenLoss()
    metric.update(torch.tensor(1.0), 2)
    assert "token_accuracy" not in metric.compute()


def test_a_diverged_loss_gives_infinite_perplexity_and_no_tokens_give_nan():
    metric = TokenLoss()
    assert math.isnan(metric.compute()["loss"])
    metric.reset()
    metric.update(1e6, 1)
    assert metric.compute()["perplexity"] == math.inf


def test_the_metric_keeps_no_gradients():
    metric = TokenLoss()
    metric.update(torch.ones((), requires_grad=True) * 2, 1, 1)
    assert not metric.loss_sum.requires_grad
