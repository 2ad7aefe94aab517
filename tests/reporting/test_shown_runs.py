"""The labels of settings in charts."""

from __future__ import annotations

from types import SimpleNamespace

from trimer.reporting.shown_runs import short_label


def test_labels_that_are_too_long_for_a_chart_have_short_keys():
    settings = {"optimizer.lr": "0.003", "optimizer.weight_decay": "0.01", "task.head.pooling": "attention"}
    group = SimpleNamespace(runs=[SimpleNamespace(settings=settings, config={})])
    shown = SimpleNamespace(summary=SimpleNamespace(varied=list(settings)))
    assert short_label(shown, group) == "lr=0.003 weight_decay=0.01 pooling=attention"
    shown.summary.varied.pop()
    assert short_label(shown, group) == "optimizer.lr=0.003 optimizer.weight_decay=0.01"
