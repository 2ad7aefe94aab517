"""Applicability of evaluated sequences, and the error of a model by applicability.

Shapes: n sequences of a split.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.metrics.decisions import decide_classes, decide_labels
from trimer.training_embeddings import Neighbours, embeddings
from trimer.training_molecules import library_of

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded
    from trimer.evaluation.label_evaluation import LabelEvaluation

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


def errors_of(evaluation: LabelEvaluation) -> np.ndarray | None:
    """(n,) error of each sequence: 1 or 0 for a class, the fraction of wrong labels, or the mean absolute error.

    NaN without a label. None for classes of residues.
    """
    predictions, labels, thresholds = evaluation.predictions, evaluation.labels, evaluation.thresholds
    if evaluation.target == "residue":
        return None
    if evaluation.target == "single":
        return (decide_classes(predictions, thresholds) != labels).astype(float)
    predicted = decide_labels(predictions, thresholds) if evaluation.target == "multi" else predictions
    errors = np.where(np.isnan(labels), np.nan, np.abs(predicted - labels))
    known = np.isfinite(errors)
    return np.divide(np.nansum(errors, 1), known.sum(1), out=np.full(len(errors), np.nan), where=known.any(1))


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


def save_errors(rows: list[dict], path: Path) -> None:
    """Write the groups to a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
