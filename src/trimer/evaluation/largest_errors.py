"""The answers of a model of labels that are farthest from the truth: what to look at first.

Shapes: n rows, C classes, K labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trimer.metrics.decisions import decide_classes

if TYPE_CHECKING:
    from trimer.evaluation.label_evaluation import LabelEvaluation


def mistakes(evaluation: LabelEvaluation, called: str = "sequence", most: int = 12) -> list[dict]:
    """Rows for a table, the worst first; residues have none.

    Of classes the wrong answers with the highest probabilities; of yes-or-no labels the answers on the wrong side of a
    half that are farthest from it; of numbers the largest errors in units of the label's standard deviation.
    called: the column of SMILES or of a sequence.
    """
    if evaluation.target == "residue":
        return []
    if evaluation.target == "single":
        return _of_classes(evaluation, called, most)
    return _of_columns(evaluation, called, most)


def _of_classes(evaluation: LabelEvaluation, called: str, most: int) -> list[dict]:
    answers, labels, classes = evaluation.answers, evaluation.labels, evaluation.classes
    said = decide_classes(answers, evaluation.thresholds)
    sure = np.where(said == labels, -1.0, answers[np.arange(len(said)), said])
    rows = [row for row in np.argsort(-sure, kind="stable")[:most] if sure[row] >= 0]
    return [
        {
            "id": evaluation.ids[row],
            called: evaluation.texts[row],
            "true": classes[labels[row]],
            "said": classes[said[row]],
            "probability": float(sure[row]),
        }
        for row in rows
    ]


def _of_columns(evaluation: LabelEvaluation, called: str, most: int) -> list[dict]:
    answers, labels = evaluation.answers, evaluation.labels  # (n, K), NaN where a label is missing
    distance = np.nan_to_num(np.abs(answers - labels), nan=0.0)
    numbers = evaluation.target == "regression"
    if numbers:
        spread = np.array([np.nanstd(column) if np.isfinite(column).any() else 1.0 for column in labels.T])
        distance = distance / np.where(spread > 0, spread, 1.0)
    found = []
    for place in np.argsort(-distance, axis=None, kind="stable")[:most]:
        row, column = np.unravel_index(place, distance.shape)
        if distance[row, column] <= (0 if numbers else 0.5):
            break
        true, said = float(labels[row, column]), float(answers[row, column])
        told = (
            {"observed": true, "predicted": said, "error": said - true}
            if numbers
            else {"true": "yes" if true else "no", "probability of yes": said}
        )
        label = {"label": evaluation.classes[column]} if len(evaluation.classes) > 1 else {}
        found.append({"id": evaluation.ids[row], called: evaluation.texts[row], **label, **told})
    return found
