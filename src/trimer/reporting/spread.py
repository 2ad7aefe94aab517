"""Mean, standard deviation and confidence interval of metrics over the seeds, or the folds, of a group of runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trimer.reporting.grouping import FOLD
from trimer.resuming import ABSENT, value_at

if TYPE_CHECKING:
    from trimer.reporting.runs import Run

Spread = tuple[float, float, int]  # mean, standard deviation, count


def fold_of(config: Mapping[str, Any]) -> str | None:
    """The number of the fold of a cross-validation, None without one."""
    fold = value_at(config, FOLD)
    return None if fold is ABSENT or fold is None else str(fold)


def spread(runs: Sequence[Run]) -> dict[str, Spread]:
    """Mean, sample standard deviation (NaN for one) and count of each metric over the folds, or seeds, that finished.

    A seed that was run several times counts once, by its mean; so does a fold with several seeds.
    """
    values_of: dict[str, dict[str | None, dict[str | None, list[float]]]] = {}
    for run in (run for run in runs if run.status == "ok"):
        for name, value in run.metrics.items():
            if math.isfinite(value):
                values_of.setdefault(name, {}).setdefault(run.fold, {}).setdefault(run.seed, []).append(value)
    spreads = {}
    for name, folds in values_of.items():
        seeds = {fold: [statistics.fmean(values) for values in seeds.values()] for fold, seeds in folds.items()}
        values = [statistics.fmean(means) for means in seeds.values()] if len(seeds) > 1 else next(iter(seeds.values()))
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        spreads[name] = statistics.fmean(values), deviation, len(values)
    return spreads


def interval(mean: float, deviation: float, count: int) -> tuple[float, float] | None:
    """The 95 % confidence interval of a mean by Student's t distribution; None for a single value.

    Folds share training data, so the interval of a cross-validation is somewhat too narrow.
    """
    from scipy.special import stdtrit

    if count < 2:
        return None
    half = float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)
    return mean - half, mean + half


def with_interval(spread: Spread | None) -> tuple[float | None, ...]:
    """Mean, standard deviation, count, and the ends of the interval."""
    return (None, None, 0, None, None) if spread is None else (*spread, *(interval(*spread) or (None, None)))
