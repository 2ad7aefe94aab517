"""When a training no longer improves: the rule of early stopping, and its trace over the validations of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimer.errors import ConfigError

RISING, FLAT, NOT_FINITE = "rising", "no significant improvement", "not finite"
PATIENCE, MARGIN = 5, 0.01  # defaults
TARGET = "trimer.callbacks.early_stopping.EarlyStopping"


class StoppingRule:
    """Decides after each validation whether a training should stop.

    monitor, mode: the validation metric, and whether lower ("min") or higher ("max") is better. With "min" a value is
    bad if it is
        rising: above best + margin * |best|, where best is the lowest value so far, or otherwise
        no significant improvement: not below significant - margin * |significant|, where significant is the value of
        the last significant improvement. Several small improvements therefore add up to a significant one.
    With "max" the sign of the metric is reversed. margin is a fraction; `min_delta` is its minimum in absolute units,
    for metrics near zero. The first value is never bad. patience: bad values in a row after which the rule stops.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: str = "min",
        patience: int = PATIENCE,
        margin: float = MARGIN,
        min_delta: float = 0.0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ConfigError(f"callbacks.early_stopping.mode={mode} must be min or max")
        if patience < 1:
            raise ConfigError(f"callbacks.early_stopping.patience={patience} must be 1 or more")
        for name, minimum in (("margin", margin), ("min_delta", min_delta)):
            if not 0 <= minimum < math.inf:
                raise ConfigError(f"callbacks.early_stopping.{name}={minimum} must not be negative")
        self.monitor, self.mode, self.margin, self.min_delta = monitor, mode, margin, min_delta
        self.patience = patience
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.best: float | None = None  # both with the sign reversed for mode="max"
        self.significant: float | None = None
        self.bad = 0
        self.reason: str | None = None

    def update(self, value: float) -> str | None:
        """Record the metric of a validation; returns the reason to stop, or None."""
        if not math.isfinite(value):
            self.reason = NOT_FINITE
            return self.reason
        value = value if self.mode == "min" else -value
        if self.best is None or self.significant is None:
            self.best = self.significant = value
            return None
        rising = value > self.best + self.smallest_change(self.best)
        self.best = min(self.best, value)
        if value < self.significant and value <= self.significant - self.smallest_change(self.significant):
            self.significant, self.bad = value, 0
            return None
        self.bad += 1
        if self.bad >= self.patience:
            self.reason = RISING if rising else FLAT
        return self.reason

    def smallest_change(self, value: float) -> float:
        """The smallest change from this value that counts."""
        return max(self.margin * abs(value), self.min_delta)


@dataclass(frozen=True)
class StoppingTrace:
    """What the rule has seen of a run: the metric at the steps of its validations.

    best: step and value of the best validation. since: step of the last significant improvement. needed: the value
    that would have been the next one. bad: values in a row without one, of `patience`. reason: why the rule stopped at
    the last step, None if it did not.
    """

    monitor: str
    steps: Sequence[int]
    values: Sequence[float]
    best: tuple[int, float]
    since: int
    needed: float
    bad: int
    patience: int
    reason: str | None


def rule_of(config: Mapping[str, Any]) -> StoppingRule | None:
    """The rule in the resolved config of a run, None if it has no early stopping."""
    nodes = [node for node in (config.get("callbacks") or {}).values() if (node or {}).get("_target_") == TARGET]
    if not nodes:
        return None
    names = ("monitor", "mode", "patience", "margin", "min_delta")
    settings = {name: nodes[0][name] for name in names if name in nodes[0]}
    if multiple := nodes[0].get("patience_multiple"):
        settings["patience"] = max(1, int(multiple) * int((config.get("scheduler") or {}).get("patience", 1)))
    return StoppingRule(**settings)


def trace_of(rule: StoppingRule, steps: Sequence[int], values: Sequence[float]) -> StoppingTrace | None:
    """Apply a new rule to the finite metrics of a run, up to the one that stops it; None for fewer than two."""
    if len(steps) < 2:
        return None
    since, best = steps[0], (steps[0], values[0])
    used = 0
    for step, value in zip(steps, values, strict=True):
        used += 1
        earlier, significant = rule.best, rule.significant
        rule.update(value)
        since = step if rule.significant != significant else since
        best = (step, value) if rule.best != earlier else best
        if rule.reason:
            break
    assert rule.significant is not None  # the values are finite
    sign = 1 if rule.mode == "min" else -1
    needed = sign * (rule.significant - rule.smallest_change(rule.significant))
    return StoppingTrace(
        rule.monitor, steps[:used], values[:used], best, since, needed, rule.bad, rule.patience, rule.reason
    )
