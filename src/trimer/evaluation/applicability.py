"""Applicability of evaluated sequences, and the error of a model by applicability.

Shapes: n sequences of a split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.training_embeddings import Neighbours, embeddings
from trimer.training_molecules import library_of

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

GROUPS = 5  # of equal size, by applicability
COLUMNS = ("lowest", "highest", "records", "error", "std_error")


def applicability_of(loaded: Loaded, net: Any, data: Any, rows: np.ndarray) -> np.ndarray | None:
    """(n,) applicability of rows of a data module, NaN if unknown; None if the checkpoint has no training records.

    For molecules the highest Tanimoto similarity to a training molecule, otherwise as in `trimer.training_embeddings`.
    """
    values: list[float | None]
    if data.sequences.plural == "molecules":
        if (library := library_of(loaded)) is None:
            return None
        values = library.similarities(data.texts(rows))
    else:
        if (neighbours := Neighbours.of(loaded)) is None:
            return None
        values = neighbours.applicability(embeddings(net, data, rows))
    return np.array([np.nan if value is None else value for value in values], np.float64)


def errors_by_applicability(applicability: np.ndarray, errors: np.ndarray, groups: int = GROUPS) -> list[dict]:
    """The mean error of groups of equal size, the least applicable first. Sequences without both are left out."""
    known = np.isfinite(applicability) & np.isfinite(errors)
    applicability, errors = applicability[known], errors[known]
    rows = []
    order = np.argsort(applicability, kind="stable")
    for part in np.array_split(order, min(groups, len(errors))) if len(errors) else ():
        inside = errors[part]
        spread = float(inside.std(ddof=1) / np.sqrt(len(inside))) if len(inside) > 1 else float("nan")
        values = float(applicability[part[0]]), float(applicability[part[-1]]), len(part), float(inside.mean()), spread
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows
