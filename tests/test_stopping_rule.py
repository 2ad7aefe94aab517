"""The trace of early stopping over a run: the best value, the bad validations, and why it stopped."""

from __future__ import annotations

import pytest

from trimer.stopping_rule import FLAT, RISING, TARGET, StoppingRule, rule_of, trace_of

NODE = {"_target_": TARGET, "monitor": "val/loss", "mode": "min", "patience": 2, "margin": 0.1, "min_delta": 0.0}


def test_a_trace_ends_at_the_value_that_stops_the_run():
    rule = rule_of({"callbacks": {"best": None, "early_stopping": NODE}})
    trace = trace_of(rule, [10, 20, 30, 40, 50], [1.0, 0.5, 0.48, 0.9, 0.1])
    assert trace is not None
    assert (trace.steps, trace.reason, trace.bad, trace.patience) == ([10, 20, 30, 40], RISING, 2, 2)
    assert trace.best == (30, 0.48) and trace.since == 20  # 0.48 is the best, but not a significant improvement
    assert trace.needed == pytest.approx(0.45)


def test_a_metric_to_maximise_is_shown_with_its_sign():
    trace = trace_of(StoppingRule("val/r2", "max", 1, 0.1, 0.0), [1, 2, 3], [0.5, 0.8, 0.81])
    assert trace is not None
    assert (trace.best, trace.since, trace.reason) == ((3, 0.81), 2, FLAT)
    assert trace.needed == pytest.approx(0.88)


def test_a_run_that_has_not_stopped_has_no_reason():
    trace = trace_of(StoppingRule("val/loss", "min", 5, 0.01, 0.0), [1, 2], [0.5, 0.4])
    assert trace is not None and (trace.reason, trace.bad) == (None, 0)
    assert trace_of(StoppingRule("val/loss", "min", 5, 0.01, 0.0), [1], [0.5]) is None


def test_the_patience_may_be_a_multiple_of_that_of_the_schedule():
    config = {"callbacks": {"a": {**NODE, "patience_multiple": 4}}, "scheduler": {"patience": 3}}
    assert rule_of(config).patience == 12
    assert rule_of({"callbacks": {"best": {"_target_": "other"}}}) is None
