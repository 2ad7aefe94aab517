"""The baselines of a split: each one a result, or the reason why there is none."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import torch

from trimer.baselines.label_baseline import Majority
from trimer.errors import InputError
from trimer.evaluation import label_comparison
from trimer.evaluation.label_comparison import baseline_results
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled


class Broken(Majority):
    def fit(self, texts, labels, classes=None):
        raise InputError("libgomp.so.1 is missing")


class Bounded(Majority):
    def fit(self, texts, labels, classes=None):
        self.note = "fitted on 2 of 3 training rows, which bounds its time"
        return super().fit(texts, labels, classes)


def test_a_baseline_that_fails_is_a_result_with_its_reason(monkeypatch, caplog):
    table = {"broken": Broken, "bounded": Bounded, "plain": Majority}
    monkeypatch.setattr(label_comparison, "OF_SEQUENCES", {"proteins": table})
    rows = {"train": np.arange(3), "test": np.arange(3, 5)}
    data = SimpleNamespace(
        target="single", classes=["a", "b"], sequences=SimpleNamespace(plural="proteins"), labels=np.array([0, 0, 1]),
        split=SimpleNamespace(rows=rows.__getitem__, names=list(rows)), texts=lambda rows: ["A"] * len(rows),
        training_labels=lambda: torch.tensor([0, 0, 1]),
    )  # fmt: skip
    net = Labelled(Esm2(33, 32, layers=1, heads=2), 2, "single")
    with caplog.at_level(logging.INFO):
        broken, bounded, plain = baseline_results(net, data, ["A", "A"], 0)
    assert broken.predictions is None and broken.note == "no result: libgomp.so.1 is missing"
    assert bounded.predictions is not None and bounded.note.startswith("fitted on 2 of 3")
    assert plain.note == "" and plain.predictions.tolist() == [[2 / 3, 1 / 3]] * 2
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["baseline 'broken': no result: libgomp.so.1 is missing"]
