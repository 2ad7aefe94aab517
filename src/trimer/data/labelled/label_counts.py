"""Counts of each class or label in each split, as plain values and as a text table.

Shapes: n rows, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.splits import Split

SHOWN = 40  # classes in the table
NO_LABEL = "(no label)"
WIDTH = 80  # columns of a narrow terminal
SHORTEST = 10  # letters of a name that are always shown
ABOUT = {  # target -> what the cells of the table are
    "residue": "labels of residues",
    "multi": "labels: yes / no / missing",
    "regression": "labels: count, mean ± standard deviation",
}


def counts_of_splits(classes: Sequence[str], labels: np.ndarray | Ragged, split: Split) -> dict[str, dict[str, int]]:
    """Split -> class -> rows (residues) that have it, or label -> rows for which it is known; plain values."""
    counts_of: dict[str, dict[str, int]] = {}
    for name in split.names:
        values = labels_of_rows(labels, split.rows(name))
        if values.ndim == 2:
            counts = (~np.isnan(values)).sum(0)
        else:
            counts = np.bincount(values[values >= 0], minlength=len(classes))
        counts_of[name] = dict(zip(classes, counts.tolist(), strict=True))
    return counts_of


def label_table(target: str, classes: Sequence[str], labels: np.ndarray | Ragged, split: Split) -> str:
    """Text table with a line for each class or label and a column for each split, at most `WIDTH` wide where it can be.

    Cells by target: "single", rows; "residue", residues; "multi", yes / no / missing; "regression", count, mean and
    standard deviation. Long names are shortened.
    """
    of_split = {name: _cells(target, classes, labels_of_rows(labels, split.rows(name))) for name in split.names}
    about, heading = ABOUT.get(target), "class" if target in ("single", "residue") else "label"
    names = [*classes, *([NO_LABEL] if target == "residue" else [])]
    lines = [[heading, *of_split], *zip(names, *of_split.values(), strict=True)]
    hidden = len(lines) - 1 - SHOWN
    shown = lines[: SHOWN + 1]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    widths[0] = min(widths[0], max(SHORTEST, WIDTH - sum(2 + width for width in widths[1:])))
    text = ["  ".join(_aligned(line, widths)).rstrip() for line in shown]
    more = [f"... and {hidden:,} more (labels.json)"] if hidden > 0 else []
    return "\n".join([*([about] if about else []), *text, *more])


def labels_of_rows(labels: np.ndarray | Ragged, rows: np.ndarray) -> np.ndarray:
    """The labels of the given rows; those of residues are concatenated."""
    return labels.take(rows).values if isinstance(labels, Ragged) else labels[rows]


def _cells(target: str, classes: Sequence[str], labels: np.ndarray) -> list[str]:
    if target in ("single", "residue"):
        counts = np.bincount(labels[labels >= 0], minlength=len(classes)).tolist()
        counts += [int((labels < 0).sum())] if target == "residue" else []
        return [f"{count:,}" for count in counts]
    if target == "multi":
        return [
            f"{(column == 1).sum():,} / {(column == 0).sum():,} / {np.isnan(column).sum():,}" for column in labels.T
        ]
    known = [column[~np.isnan(column)].astype(float) for column in labels.T]
    return [f"{len(values):,}, {values.mean():.4g} ± {values.std():.4g}" if len(values) else "0" for values in known]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    name = line[0] if len(line[0]) <= widths[0] else f"{line[0][: widths[0] - 1]}…"
    return [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
