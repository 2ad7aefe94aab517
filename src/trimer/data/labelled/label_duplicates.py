"""Sequences that occur more than once, with the same labels or with others, and what becomes of them.

Shapes: n rows, K labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from trimer.errors import ConfigError

WAYS = ("keep", "mean", "majority", "drop")
TARGETS_OF = {
    "keep": ("single", "multi", "regression", "residue"),
    "mean": ("regression",),
    "majority": ("single", "multi"),
    "drop": ("single", "multi", "regression"),
}


@dataclass
class Duplicates:
    """Counts of the sequences that occur more than once, before anything was done about them.

    sequences, rows: how many there are. differing: sequences of them with more than one value of a label, and
    differing_rows, their rows. removed: rows that were left out. noise: of numbers, label -> the standard deviation of
    repeated measurements about their mean, pooled over sequences: no model of the sequence can have a smaller RMSE.
    """

    sequences: int = 0
    rows: int = 0
    differing: int = 0
    differing_rows: int = 0
    removed: int = 0
    noise: dict[str, float] = field(default_factory=dict)

    def sentences(self, plural: str, way: str) -> list[str]:
        """What a user should know, one sentence each."""
        if not self.differing:
            return []
        done = {
            "keep": "all of them are kept: choose data.duplicates=mean (numbers), majority (classes) or drop",
            "mean": f"each has the mean of its values now, {self.removed:,} rows were merged",
            "majority": f"each has its most frequent label now, {self.removed:,} rows were merged or had no majority",
            "drop": f"all their {self.removed:,} rows were left out",
        }[way]
        told = [
            f"{self.differing:,} {plural} occur more than once with different labels, in {self.differing_rows:,} rows; "
            + done
        ]
        for name, spread in self.noise.items():
            told.append(
                f"label {name!r}: repeated measurements differ by a standard deviation of {spread:.4g}, below which no "
                "RMSE can be expected"
            )
        return told


def check_way(way: str, target: str) -> None:
    """ConfigError for a way that is not known, or not defined for the target."""
    if way not in WAYS:
        raise ConfigError(f"data.duplicates={way} must be one of {', '.join(WAYS)}")
    if target not in TARGETS_OF[way]:
        known = ", ".join(name for name in WAYS if target in TARGETS_OF[name])
        raise ConfigError(f"data.duplicates={way} is not defined for data.target={target}: choose one of {known}")


def resolved(
    keys: np.ndarray, labels: np.ndarray, used: np.ndarray, way: str, names: list[str]
) -> tuple[np.ndarray, np.ndarray, Duplicates]:
    """Labels and rows in use after `way` was applied to the sequences that occur more than once, and their counts.

    keys: (n,) what is the same for the same sequence. labels: (n,) classes, or (n, K) with NaN for missing. used: (n,)
    bool, the rows that are looked at. "mean" and "majority" merge the rows of a sequence into the first of them; a tie
    has no majority and is a missing label. "drop" leaves out the sequences whose labels differ.
    """
    labels, used = labels.copy(), used.copy()
    rows = np.flatnonzero(used)
    found = Duplicates()
    if not len(rows):
        return labels, used, found
    number, counts = np.unique(keys[rows], return_inverse=True, return_counts=True)[1:]
    columns = labels[rows].reshape(len(rows), -1).astype(float)
    order = np.argsort(number, kind="stable")
    groups = [group for group in np.split(order, np.cumsum(counts)[:-1]) if len(group) > 1]
    squares, freedom = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for group in groups:
        values = columns[group]
        known = ~np.isnan(values)
        kinds = [np.unique(values[known[:, k], k]) for k in range(values.shape[1])]
        differs = any(len(kind) > 1 for kind in kinds)
        found.sequences += 1
        found.rows += len(group)
        found.differing += differs
        found.differing_rows += len(group) * differs
        for k in np.flatnonzero(known.sum(0) > 1):
            own = values[known[:, k], k]
            squares[k] += ((own - own.mean()) ** 2).sum()
            freedom[k] += len(own) - 1
        if way == "drop" and differs:
            used[rows[group]] = False
        elif way in ("mean", "majority"):
            merged = [_merged(values[known[:, k], k], way) for k in range(values.shape[1])]
            used[rows[group[1:]]] = False
            if all(math.isnan(value) for value in merged):
                used[rows[group[0]]] = False
            else:
                labels[rows[group[0]]] = merged if labels.ndim == 2 else int(merged[0])
    found.removed = int(len(rows) - used[rows].sum())
    found.noise = {
        name: math.sqrt(squares[k] / freedom[k]) for k, name in enumerate(names) if freedom[k] and squares[k]
    }
    return labels, used, found


def _merged(values: np.ndarray, way: str) -> float:
    """The mean, or the value that occurs most often; NaN where there is none."""
    if not len(values):
        return math.nan
    if way == "mean":
        return float(values.mean())
    kinds, counts = np.unique(values, return_counts=True)
    best = counts == counts.max()
    return float(kinds[best][0]) if best.sum() == 1 else math.nan
