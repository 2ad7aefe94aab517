"""Metrics with their spread over resamples, and the reasons why some have no value or no spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trimer.reporting.table import ERROR, HIGH, LOW

SPREAD = (ERROR, LOW, HIGH)
LOSES = "loses a class"
DUST = 1e-12  # what rounding leaves of a spread of 0
LOST = 0.1  # share of the resamples that may lose a class, or of the classes that may have one row; else no interval


@dataclass
class Measured:
    """Metrics of a split, and what it could not tell.

    values: name -> value, NaN where it is not defined, and what `SPREAD` says of it; `<task>/<name>` is of a task.
    undefined: name -> why it is NaN, why it has no interval, or what a mean over classes or tasks had to leave out.
    """

    values: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    @property
    def defined(self) -> dict[str, float]:
        """The values that are known, without their spread."""
        return {name: v for name, v in self.values.items() if math.isfinite(v) and not name.endswith(SPREAD)}


def with_errors(draws: dict[str, np.ndarray]) -> Measured:
    """The first of each (1 + resamples,) is the value; the others say how sure it is."""
    measured = Measured()
    for name, drawn in draws.items():
        measured.values[name] = float(drawn[0])
        others = drawn[1:][np.isfinite(drawn[1:])]
        if np.isfinite(drawn[0]) and len(others) > 1:
            low, high = np.percentile(others, (2.5, 97.5))
            error = others.std(ddof=1)
            spread = (error if error > DUST else 0.0, low, high)
            measured.values |= {name + end: float(value) for end, value in zip(SPREAD, spread, strict=True)}
    return measured


def without_lost(draws: dict[str, np.ndarray], names: Sequence[str]) -> float:
    """Set to NaN what resamples that lost a class tell of `names`; the share of the resamples that did.

    draws: (1 + resamples,) of each metric, the first is no resample; `LOSES`, which is taken out, says which lost one.
    """
    lost = draws.pop(LOSES, None)
    if lost is None or len(lost) < 2:
        return 0.0
    lost = np.append(False, lost[1:])
    for name in names:
        draws[name] = np.where(lost, np.nan, draws[name])
    return float(lost[1:].mean())


def remove_spread(measured: Measured, names: Sequence[str], lost: float, lone: Sequence, classes: int) -> None:
    """Take away the spread of `names` where too many resamples lose a class, or too many classes have one row."""
    if lost > LOST:
        why = f"no interval: {lost:.0%} of the resamples lose a class"
    elif len(lone) > LOST * classes:
        why = f"no interval: there is one row only of {', '.join(map(str, lone[:3]))}{', ...' if len(lone) > 3 else ''}"
    else:
        return
    for name in names:
        if math.isfinite(measured.values.get(name, math.nan)):
            for end in SPREAD:
                measured.values.pop(name + end, None)
            measured.undefined.setdefault(name, why)


def undefine(measured: Measured, names: Sequence[str], why: str) -> None:
    """Take away value and spread of `names`, with the reason; nothing where `why` is empty."""
    for name in names if why else ():
        measured.values[name] = float("nan")
        for end in SPREAD:
            measured.values.pop(name + end, None)
        measured.undefined[name] = why


def nothing(names: Sequence[str], why: str) -> Measured:
    """`names` without values, and the reason."""
    return Measured(dict.fromkeys(names, float("nan")), dict.fromkeys(names, why))
