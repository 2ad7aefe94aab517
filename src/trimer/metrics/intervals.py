"""Metrics with standard errors and intervals from resamples, and the reasons why some are undefined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trimer.reporting.table import DIFFERENCE, ERROR, HIGH, LOW, P_VALUE

SPREAD = (ERROR, LOW, HIGH)
ENDS = (LOW, HIGH)
LOSES = "loses a class"
DUST = 1e-12  # largest rounding error of a spread of 0
LOST = 0.1  # share of the resamples that may lose a class, or of the classes that may have one row; else no interval


@dataclass
class Measured:
    """Metrics of a split, and the reasons for undefined ones.

    values: name -> value, NaN if undefined, with its spread under the suffixes `SPREAD`; `<task>/<name>` for one task.
    undefined: name -> why it is NaN, why it has no interval, or what a mean over classes or tasks leaves out.
    draws: name -> (1 + resamples,) the value, then that of each resample, for names with a spread.
    correct: (n,) whether the class of each row is predicted, if rows are independent of each other.
    """

    values: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    correct: np.ndarray | None = field(default=None, repr=False)

    def without_spread(self, name: str) -> None:
        """Forget the standard error, the interval and the resamples of a metric."""
        for end in SPREAD:
            self.values.pop(name + end, None)
        self.draws.pop(name, None)

    def without_ends(self) -> dict[str, float]:
        """The values without the ends of their intervals."""
        return {name: value for name, value in self.values.items() if not name.endswith(ENDS)}

    @property
    def defined(self) -> dict[str, float]:
        """The defined values, without their spread."""
        return {name: v for name, v in self.values.items() if math.isfinite(v) and not name.endswith(SPREAD)}


def with_errors(draws: dict[str, np.ndarray]) -> Measured:
    """Values with their spread: the first of each (1 + resamples,) is the value, the others are its resamples."""
    measured = Measured()
    for name, drawn in draws.items():
        measured.values[name] = float(drawn[0])
        others = drawn[1:][np.isfinite(drawn[1:])]
        if np.isfinite(drawn[0]) and len(others) > 1:
            low, high = np.percentile(others, (2.5, 97.5))
            error = others.std(ddof=1)
            spread = (error if error > DUST else 0.0, low, high)
            measured.values |= {name + end: float(value) for end, value in zip(SPREAD, spread, strict=True)}
            measured.draws[name] = drawn
    return measured


def paired_differences(model: Measured, other: Measured, names: Sequence[str]) -> dict[str, float]:
    """The metrics of `model` minus those of `other`, measured on the same rows with the same resamples.

    `<name>_difference` with its spread, and `<name>_difference_p`, two-sided: of accuracy by McNemar's exact test, of
    others twice the share of resamples whose difference is zero or has the other sign, the observed value counted as
    one of them. A metric that is undefined for either, or a mean over other tasks for one of them, has no difference.
    """
    differences: dict[str, float] = {}
    for name in names:
        if name not in model.draws or name not in other.draws or model.undefined.get(name) != other.undefined.get(name):
            continue
        drawn = model.draws[name] - other.draws[name]
        differences |= with_errors({name + DIFFERENCE: drawn}).values
        if name == "accuracy" and model.correct is not None and other.correct is not None:
            differences[name + P_VALUE] = mcnemar(model.correct, other.correct)
            continue
        resamples = drawn[1:][np.isfinite(drawn[1:])]
        tails = ((resamples <= DUST).sum(), (resamples >= -DUST).sum())
        differences[name + P_VALUE] = min(1.0, 2 * (1 + int(min(tails))) / (1 + len(resamples)))
    return differences


def mcnemar(correct: np.ndarray, other: np.ndarray) -> float:
    """McNemar's exact test, two-sided: (n,) whether each of two methods is right about a row.

    Only rows where one is right and the other wrong count. Resamples within classes would understate the chance in
    classes of a few rows.
    """
    from scipy.stats import binomtest

    better, worse = int((correct & ~other).sum()), int((other & ~correct).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def without_lost(draws: dict[str, np.ndarray], names: Sequence[str]) -> float:
    """Set `names` to NaN in the resamples that lost a class; returns the share of these resamples.

    draws: (1 + resamples,) of each metric, the first is not a resample; the mask `LOSES` is removed from it.
    """
    lost = draws.pop(LOSES, None)
    if lost is None or len(lost) < 2:
        return 0.0
    lost = np.append(False, lost[1:])
    for name in names:
        draws[name] = np.where(lost, np.nan, draws[name])
    return float(lost[1:].mean())


def remove_spread(measured: Measured, names: Sequence[str], lost: float, lone: Sequence, classes: int) -> None:
    """Remove the spread of `names` if too many resamples lose a class, or too many classes have only one row."""
    if lost > LOST:
        why = f"no interval: {lost:.0%} of the resamples lose a class"
    elif len(lone) > LOST * classes:
        why = f"no interval: there is only one row of {', '.join(map(str, lone[:3]))}{', ...' if len(lone) > 3 else ''}"
    else:
        return
    for name in names:
        if math.isfinite(measured.values.get(name, math.nan)):
            measured.without_spread(name)
            measured.undefined.setdefault(name, why)


def undefine(measured: Measured, names: Sequence[str], why: str) -> None:
    """Remove value and spread of `names`, with the reason; does nothing if `why` is empty."""
    for name in names if why else ():
        measured.values[name] = float("nan")
        measured.without_spread(name)
        measured.undefined[name] = why


def nothing(names: Sequence[str], why: str) -> Measured:
    """All `names` undefined, with the reason."""
    return Measured(dict.fromkeys(names, float("nan")), dict.fromkeys(names, why))
