"""Duplicate sequences with equal or different labels, and how they are resolved.

Shapes: n rows, K labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from trimer.counts import counted
from trimer.errors import ConfigError
from trimer.targets import target_of

WAYS = ("keep", "mean", "majority", "drop")


@dataclass
class Duplicates:
    """Counts of duplicate sequences, before they are resolved.

    sequences, rows: number of duplicated sequences and of their rows. differing, differing_rows: those with different
    values of a label. removed: rows that were dropped. noise: for regression, label -> pooled standard deviation of
    repeated measurements; no model of the sequence alone can be expected to reach a lower RMSE.
    """

    sequences: int = 0
    rows: int = 0
    differing: int = 0
    differing_rows: int = 0
    removed: int = 0
    noise: dict[str, float] = field(default_factory=dict)

    def sentences(self, plural: str, way: str) -> list[str]:
        """Messages for the user, one sentence each."""
        if not self.differing:
            return []
        removed = counted(self.removed, "rows", "were")
        resolution = {
            "keep": "all are kept: choose data.duplicates=mean (numbers), majority (classes) or drop",
            "mean": f"each now has the mean of its values, {removed} merged",
            "majority": f"each now has its most frequent label, {removed} merged or had no majority",
            "drop": f"all their {self.removed:,} rows were dropped",
        }[way]
        return [
            f"{self.differing:,} {plural} occur more than once with different labels, in {self.differing_rows:,} rows; "
            + resolution,
            *(
                f"label {name!r}: repeated measurements have a standard deviation of {spread:.4g}, the lowest RMSE "
                "that can be expected"
                for name, spread in self.noise.items()
            ),
        ]


def check_way(way: str, target: str) -> None:
    """ConfigError for an unknown way, or one that is not defined for the target."""
    if way not in WAYS:
        raise ConfigError(f"data.duplicates={way} must be one of {', '.join(WAYS)}")
    if way not in (known := target_of(target).duplicates):
        raise ConfigError(
            f"data.duplicates={way} is not defined for data.target={target}: choose one of {', '.join(known)}"
        )


def resolved(
    keys: np.ndarray, labels: np.ndarray, used: np.ndarray, way: str, names: list[str]
) -> tuple[np.ndarray, np.ndarray, Duplicates]:
    """Labels and used rows after duplicates are resolved, and counts of the duplicates.

    keys: (n,) identity of the sequence. labels: (n,) classes, or (n, K) with NaN for missing ones. used: (n,) bool,
    rows to consider. way: "mean" and "majority" merge the rows of a sequence into the first of them, where a tie gives
    a missing label; "drop" drops the sequences with different labels.
    """
    labels, used = labels.copy(), used.copy()
    rows = np.flatnonzero(used)
    duplicates = Duplicates()
    if not len(rows):
        return labels, used, duplicates
    number, counts = np.unique(keys[rows], return_inverse=True, return_counts=True)[1:]
    columns = labels[rows].reshape(len(rows), -1).astype(float)
    order = np.argsort(number, kind="stable")
    groups = [group for group in np.split(order, np.cumsum(counts)[:-1]) if len(group) > 1]
    squares, freedom = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for group in groups:
        values = columns[group]
        known = ~np.isnan(values)
        distinct = [np.unique(values[known[:, k], k]) for k in range(values.shape[1])]
        differs = any(len(label_values) > 1 for label_values in distinct)
        duplicates.sequences += 1
        duplicates.rows += len(group)
        duplicates.differing += differs
        duplicates.differing_rows += len(group) * differs
        for k in np.flatnonzero(known.sum(0) > 1):
            measured = values[known[:, k], k]
            squares[k] += ((measured - measured.mean()) ** 2).sum()
            freedom[k] += len(measured) - 1
        if way == "drop" and differs:
            used[rows[group]] = False
        elif way in ("mean", "majority"):
            merged = [_merged(values[known[:, k], k], way) for k in range(values.shape[1])]
            used[rows[group[1:]]] = False
            if all(math.isnan(value) for value in merged):
                used[rows[group[0]]] = False
            else:
                labels[rows[group[0]]] = merged if labels.ndim == 2 else int(merged[0])
    duplicates.removed = int(len(rows) - used[rows].sum())
    duplicates.noise = {
        name: math.sqrt(squares[k] / freedom[k]) for k, name in enumerate(names) if freedom[k] and squares[k]
    }
    return labels, used, duplicates


def _merged(values: np.ndarray, way: str) -> float:
    """The mean or the most frequent value; NaN if there is none."""
    if not len(values):
        return math.nan
    if way == "mean":
        return float(values.mean())
    distinct, counts = np.unique(values, return_counts=True)
    best = counts == counts.max()
    return float(distinct[best][0]) if best.sum() == 1 else math.nan
