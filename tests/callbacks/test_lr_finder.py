"""The learning-rate finder: its suggestion on curves of a known shape, and a sweep on real data with its files."""

from __future__ import annotations

import math

import pytest

from trimer.callbacks.lr_finder import LearningRateFinder, diverged, smoothed, suggested
from trimer.errors import ConfigError


def loss_of(rate: float) -> float:
    """Falls fastest at 1e-3, lowest near 1e-2, then rises."""
    return 2 - math.tanh(2 * math.log10(rate / 1e-3)) + max(0.0, 5 * math.log10(rate / 3e-2))


def test_the_suggestion_is_the_rate_of_the_steepest_fall():
    finder = LearningRateFinder("unused", lowest=1e-6, highest=1.0, steps=200, stop_factor=1.0)
    rates = [finder.rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(1e-6) and rates[-1] == pytest.approx(1.0)
    rate = suggested(rates, [loss_of(rate) for rate in rates])
    assert rate is not None and 0.8e-3 < rate < 1.25e-3
    assert suggested(rates, [1.0 + rate for rate in rates]) is None  # never falls
    assert suggested(rates[:5], [1.0] * 5) is None


def test_a_rising_loss_ends_the_sweep_and_noise_does_not():
    noise = [2 - 0.01 * step + 0.2 * (step % 2) for step in range(100)]
    assert not any(diverged(noise[:end], 1.0) for end in range(1, 100))
    assert diverged([*noise, *[20.0] * 10], 1.0)
    assert smoothed([3.0, 3.0]) == pytest.approx([3.0, 3.0])


def test_impossible_ranges_are_named():
    with pytest.raises(ConfigError, match=r"lowest=1.0 must be above 0 and below highest=0.1"):
        LearningRateFinder("unused", lowest=1.0, highest=0.1, steps=100, stop_factor=1.0)
