"""Counts of each class or label in each split, as plain values and as a text table.

Shapes: n rows, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.splits import Split
from trimer.targets import target_of

SHOWN = 40  # classes in the table
NO_LABEL = "(no label)"
WIDTH = 80  # columns of a narrow terminal
SHORTEST = 10  # letters of a name that are always shown


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

    Long names are shortened.
    """
    kind = target_of(target)
    of_split = {name: kind.cells(labels_of_rows(labels, split.rows(name)), classes) for name in split.names}
    names = [*classes, *([NO_LABEL] if kind.by_residue else [])]
    lines = [[kind.heading, *of_split], *zip(names, *of_split.values(), strict=True)]
    hidden = len(lines) - 1 - SHOWN
    shown = lines[: SHOWN + 1]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    widths[0] = min(widths[0], max(SHORTEST, WIDTH - sum(2 + width for width in widths[1:])))
    text = ["  ".join(_aligned(line, widths)).rstrip() for line in shown]
    more = [f"... and {hidden:,} more (labels.json)"] if hidden > 0 else []
    return "\n".join([*([kind.about] if kind.about else []), *text, *more])


def labels_of_rows(labels: np.ndarray | Ragged, rows: np.ndarray) -> np.ndarray:
    """The labels of the given rows; those of residues are concatenated."""
    return labels.take(rows).values if isinstance(labels, Ragged) else labels[rows]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    name = line[0] if len(line[0]) <= widths[0] else f"{line[0][: widths[0] - 1]}…"
    return [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
