"""The largest errors of a model of labels: the records to look at first.

Shapes: n rows, C classes, K labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trimer.metrics.decisions import decide_classes

if TYPE_CHECKING:
    from trimer.evaluation.label_evaluation import LabelEvaluation


def mistakes(evaluation: LabelEvaluation, called: str = "sequence", most: int = 12) -> list[dict]:
    """Rows for a table, the largest error first; empty for residues.

    For classes the wrong predictions with the highest probabilities; for yes-or-no labels the probabilities farthest
    on the wrong side of 0.5; for numbers the largest errors in units of the label's standard deviation.
    called: the column of SMILES or of a sequence.
    """
    if evaluation.kind.by_residue:
        return []
    if evaluation.kind.has_classes:
        return _of_classes(evaluation, called, most)
    return _of_columns(evaluation, called, most)


def _of_classes(evaluation: LabelEvaluation, called: str, most: int) -> list[dict]:
    predictions, labels, classes = evaluation.predictions, evaluation.labels, evaluation.classes
    predicted = decide_classes(predictions, evaluation.thresholds)
    confidence = np.where(predicted == labels, -1.0, predictions[np.arange(len(predicted)), predicted])  # -1: correct
    rows = [row for row in np.argsort(-confidence, kind="stable")[:most] if confidence[row] >= 0]
    return [
        {
            "id": evaluation.ids[row],
            called: evaluation.texts[row],
            "true": classes[labels[row]],
            "predicted": classes[predicted[row]],
            "probability": float(confidence[row]),
        }
        for row in rows
    ]


def _of_columns(evaluation: LabelEvaluation, called: str, most: int) -> list[dict]:
    predictions, labels = evaluation.predictions, evaluation.labels  # (n, K), NaN where a label is missing
    distance = np.nan_to_num(np.abs(predictions - labels), nan=0.0)
    numbers = evaluation.kind.numbers
    if numbers:
        spread = np.array([np.nanstd(column) if np.isfinite(column).any() else 1.0 for column in labels.T])
        distance = distance / np.where(spread > 0, spread, 1.0)
    rows = []
    for cell in np.argsort(-distance, axis=None, kind="stable")[:most]:
        row, column = np.unravel_index(cell, distance.shape)
        if distance[row, column] <= (0 if numbers else 0.5):
            break
        true, predicted = float(labels[row, column]), float(predictions[row, column])
        values = (
            {"observed": true, "predicted": predicted, "error": predicted - true}
            if numbers
            else {"true": "yes" if true else "no", "probability of yes": predicted}
        )
        label = {"label": evaluation.classes[column]} if len(evaluation.classes) > 1 else {}
        rows.append({"id": evaluation.ids[row], called: evaluation.texts[row], **label, **values})
    return rows
