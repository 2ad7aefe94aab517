"""How often each split has each class or label, as counts and as a table of text.

Shapes: n rows, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.splits import Split

SHOWN = 40  # lines of classes
NO_LABEL = "(no label)"


def counts_of_splits(
    target: str, classes: Sequence[str], labels: np.ndarray | Ragged, split: Split
) -> dict[str, dict[str, int]]:
    """Split -> class or label -> rows (residues) that have it, or of which it is known; plain values."""
    found: dict[str, dict[str, int]] = {}
    for part in split.names:
        own = _taken(labels, split.rows(part))
        counts = (~np.isnan(own)).sum(0) if own.ndim == 2 else np.bincount(own[own >= 0], minlength=len(classes))
        found[part] = dict(zip(classes, counts.tolist(), strict=True))
    return found


def label_table(target: str, classes: Sequence[str], labels: np.ndarray | Ragged, split: Split) -> str:
    """A line for each class or label and a column for each split.

    "single": rows of each class. "residue": residues of each class. "multi": yes / no / missing. "regression": count,
    mean and standard deviation.
    """
    of_split = {part: _cells(target, classes, _taken(labels, split.rows(part))) for part in split.names}
    heading = {
        "single": "class",
        "residue": "class, in residues",
        "multi": "label: yes / no / missing",
        "regression": "label: count, mean ± standard deviation",
    }[target]
    names = [*classes, *([NO_LABEL] if target == "residue" else [])]
    lines = [[heading, *of_split], *zip(names, *of_split.values(), strict=True)]
    left = len(lines) - 1 - SHOWN
    shown = lines[: SHOWN + 1]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    text = ["  ".join(_set(line, widths)).rstrip() for line in shown]
    return "\n".join(text + ([f"... and {left:,} more (labels.json)"] if left > 0 else []))


def _taken(labels: np.ndarray | Ragged, rows: np.ndarray) -> np.ndarray:
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
    return [f"{len(own):,}, {own.mean():.4g} ± {own.std():.4g}" if len(own) else "0" for own in known]


def _set(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
