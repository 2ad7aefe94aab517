"""What a model of labels predicts: a class for each word of `data.target`, and the only list of them.

Shapes: n rows, C classes, K labels, R residues.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trimer.errors import ConfigError
from trimer.metrics.decisions import choose_for_classes, choose_for_labels, decide_classes, decide_labels

if TYPE_CHECKING:
    from trimer.metrics.intervals import Measured

Array = np.ndarray
Names = Sequence[str]
UNLABELLED = -100  # class number of a residue without a label
LEAST = 1e-6  # probability of the true class in a mean loss; boosting can give 0
DIGITS = 5  # decimals of the probabilities of residues
HEADS = ("row", "id", "sequence", "applicability", "in_training", "reason")  # columns of every table of predictions


class Target:
    """A kind of labels: how they are stored, decided, measured and shown.

    By default a sequence has K labels, (n, K) with NaN for a missing one, and predictions are (n, K).

    name: the word in configs and checkpoints. by_residue: each residue has a label, instead of each sequence.
    has_classes: a label is one of several classes; labels are (n,) or (R,) class numbers, predictions (n, C) or (R, C)
    probabilities. yes_or_no: labels are 0 or 1, predictions probabilities. numbers: both are in the unit of the data.
    duplicates: values of `data.duplicates` that are defined. heading, about: of the table of labels by split.
    metrics: columns of result tables, the main metric first. label: a column of predictions. shown: the columns on
    their page, () for all. decision: how probabilities become decisions, for a result page.
    """

    name: str
    by_residue = False
    has_classes = False
    yes_or_no = False
    numbers = False
    duplicates: Names
    heading = label = "label"
    about = ""
    metrics: tuple[str, ...]
    shown: Names = ()
    decision = "The predicted class is the one whose probability is the largest multiple of its threshold."

    def in_words(self, classes: Names) -> str:
        """What is predicted."""
        raise NotImplementedError

    def cells(self, labels: Array, classes: Names) -> list[str]:
        """A text about the labels of a split for each class or label, and for residues without a label."""
        raise NotImplementedError

    def known(self, labels: Any) -> Any:
        """Index of the labels, an array or a tensor, that can be compared with predictions."""
        return slice(None)

    def outputs_of(self, sizes: Sequence[int]) -> list[int]:
        """The number of predictions for each sequence. sizes: tokens of the sequences, with begin and end."""
        return [1] * len(sizes)

    # ---------------------------------------------------------------- decisions and metrics

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class or label."""
        return torch.softmax(logits, -1)

    def thresholds(self, weights: Any) -> Any:
        """Thresholds of the probabilities that reproduce the decisions of a loss with these weights, all (outputs,)."""
        return 1 / weights / (1 / weights).sum()

    def choose_thresholds(self, predictions: Array, labels: Array, criterion: str, default: Array) -> Array:
        """The thresholds that are best by a criterion (`trimer.metrics.decisions`)."""
        return choose_for_classes(predictions, labels, criterion, default)

    def decide(self, predictions: Array, thresholds: Array | None) -> Array:
        """Decisions by the thresholds, of the shape of the labels; numbers as they are."""
        return decide_classes(predictions, thresholds)

    def measure(self, predictions: Array, labels: Array, classes: Names, **options: Any) -> Measured:
        """All metrics. options: `thresholds`, `half_widths`, and resampling as in `trimer.metrics.label_metrics`."""
        raise NotImplementedError

    def mean_loss(self, predictions: Array, labels: Array, deviation: Array) -> float:
        """Mean cross-entropy in nats, or mean squared error of numbers in units of their (K,) deviation."""
        raise NotImplementedError

    def errors(self, predictions: Array, labels: Array, thresholds: Array | None) -> Array | None:
        """(n,) error of each sequence: 1 or 0 for a class, the fraction of wrong labels, or the mean absolute error.

        NaN without a label. None for classes of residues.
        """
        errors = np.where(np.isnan(labels), np.nan, np.abs(self.decide(predictions, thresholds) - labels))
        known = np.isfinite(errors)
        return np.divide(np.nansum(errors, 1), known.sum(1), out=np.full(len(errors), np.nan), where=known.any(1))

    # ---------------------------------------------------------------- tables of predictions

    def outputs(self, classes: Names) -> list[str]:
        """The column of each output of the network."""
        return [f"probability of {name}" for name in classes]

    def columns(self, classes: Names) -> list[str]:
        """The columns of the labels."""
        return [self.label, "probability", *self.outputs(classes)]

    def row(self, predicted: Array, classes: Names, thresholds: Array, half_widths: Sequence[float]) -> list:
        """The values of `columns` for one sequence. predicted: (1, K), or (R, C) of residues. half_widths: or NaN."""
        raise NotImplementedError

    def evaluated(self, evaluation: Any) -> dict[str, list]:
        """Columns of a `LabelEvaluation`: true labels, predictions and probabilities."""
        kind = "predicted" if self.numbers else "probability"
        columns: dict[str, list] = {}
        values = zip(evaluation.classes, evaluation.labels.T, evaluation.predictions.T, strict=True)
        for name, labels, predicted in values:
            columns[f"label: {name}"] = [None if np.isnan(value) else float(value) for value in labels]
            columns[f"{kind}: {name}"] = predicted.tolist()
        return columns


class OneClass(Target):
    """A sequence has one class of several."""

    name = "single"
    has_classes = True
    duplicates: Names = ("keep", "majority", "drop")
    heading = "class"
    metrics = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "auroc", "ece")
    shown: Names = ("label", "probability", "likely classes")

    def in_words(self, classes: Names) -> str:
        return f"one of {len(classes)} classes"

    def cells(self, labels: Array, classes: Names) -> list[str]:
        return [f"{count:,}" for count in np.bincount(labels[labels >= 0], minlength=len(classes))]

    def known(self, labels: Any) -> Any:
        return labels != UNLABELLED

    def measure(self, predictions: Array, labels: Array, classes: Names, **options: Any) -> Measured:
        from trimer.metrics.label_metrics import single_label

        options.pop("half_widths", None)
        return single_label(predictions, labels, classes=classes, **options)

    def mean_loss(self, predictions: Array, labels: Array, deviation: Array) -> float:
        return float(-np.log(np.clip(predictions[np.arange(len(labels)), labels], LEAST, 1)).mean())

    def errors(self, predictions: Array, labels: Array, thresholds: Array | None) -> Array | None:
        return (self.decide(predictions, thresholds) != labels).astype(float)

    def row(self, predicted: Array, classes: Names, thresholds: Array, half_widths: Sequence[float]) -> list:
        best, values = int(self.decide(predicted, thresholds)[0]), predicted[0].tolist()
        return [classes[best], values[best], *values]

    def evaluated(self, evaluation: Any) -> dict[str, list]:
        classes, decided = evaluation.classes, self.decide(evaluation.predictions, evaluation.thresholds)
        numbers = {"label": evaluation.labels, "predicted": decided}
        columns = {name: [classes[number] for number in values] for name, values in numbers.items()}
        return columns | dict(zip(self.outputs(classes), evaluation.predictions.T.tolist(), strict=True))


class ResidueClasses(OneClass):
    """Each residue has one class of several, or none (UNLABELLED). Arrays hold the residues of all sequences."""

    name = "residue"
    by_residue = True
    duplicates = ("keep",)
    about = "labels of residues"
    label = "labels"
    shown = ("labels",)

    def in_words(self, classes: Names) -> str:
        return f"{super().in_words(classes)} for each residue"

    def cells(self, labels: Array, classes: Names) -> list[str]:
        return [*super().cells(labels, classes), f"{(labels < 0).sum():,}"]

    def outputs_of(self, sizes: Sequence[int]) -> list[int]:
        return [size - 2 for size in sizes]

    def errors(self, predictions: Array, labels: Array, thresholds: Array | None) -> Array | None:
        return None

    def row(self, predicted: Array, classes: Names, thresholds: Array, half_widths: Sequence[float]) -> list:
        probabilities = np.asarray(predicted, np.float64).round(DIGITS)
        numbers = self.decide(probabilities, thresholds)
        labels = joined_labels([classes[number] for number in numbers])
        return [labels, probabilities[np.arange(len(numbers)), numbers].tolist(), *probabilities.T.tolist()]

    def evaluated(self, evaluation: Any) -> dict[str, list]:
        """For each sequence the labels as one text, and lists of probabilities; null for a residue without a label."""
        predicted, labels, owners = evaluation.whole
        cuts = np.flatnonzero(np.diff(owners)) + 1
        names = [*evaluation.classes, None]  # the last name is for residues without a label
        numbers = {
            "label": np.where(labels < 0, len(evaluation.classes), labels),
            "predicted": self.decide(predicted, evaluation.thresholds),
        }
        columns: dict[str, list] = {
            column: [joined_labels([names[number] for number in row]) for row in np.split(values, cuts)]
            for column, values in numbers.items()
        }
        for name, probabilities in zip(self.outputs(evaluation.classes), predicted.T, strict=True):
            columns[name] = [row.tolist() for row in np.split(probabilities, cuts)]
        return columns


class YesOrNo(Target):
    """Yes or no for each of several labels of a sequence."""

    name = "multi"
    yes_or_no = True
    duplicates = ("keep", "majority", "drop")
    about = "labels: yes / no / missing"
    metrics = ("auroc", "average_precision", "balanced_accuracy", "macro_f1", "mcc")
    shown = ("predicted", "likely classes")
    decision = "A label is predicted where its probability is above the threshold."

    def in_words(self, classes: Names) -> str:
        return f"{len(classes)} yes-or-no labels" if len(classes) > 1 else f"yes or no: {classes[0]}"

    def cells(self, labels: Array, classes: Names) -> list[str]:
        counts = [((label == 1).sum(), (label == 0).sum(), np.isnan(label).sum()) for label in labels.T]
        return [f"{yes:,} / {no:,} / {missing:,}" for yes, no, missing in counts]

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def thresholds(self, weights: Any) -> Any:
        return 1 / weights / (1 + 1 / weights)

    def choose_thresholds(self, predictions: Array, labels: Array, criterion: str, default: Array) -> Array:
        return choose_for_labels(predictions, labels, criterion, default)

    def decide(self, predictions: Array, thresholds: Array | None) -> Array:
        return decide_labels(predictions, thresholds)

    def measure(self, predictions: Array, labels: Array, classes: Names, **options: Any) -> Measured:
        from trimer.metrics.label_metrics import multi_label

        options.pop("half_widths", None)
        return multi_label(predictions, labels, tasks=classes, **options)

    def mean_loss(self, predictions: Array, labels: Array, deviation: Array) -> float:
        right = np.where(labels == 1, predictions, 1 - predictions)[~np.isnan(labels)]
        return float(-np.log(np.clip(right, LEAST, 1)).mean())

    def columns(self, classes: Names) -> list[str]:
        return [f"{prefix} {name}" for name in classes for prefix in ("predicted", "probability of")]

    def row(self, predicted: Array, classes: Names, thresholds: Array, half_widths: Sequence[float]) -> list:
        decisions = ["yes" if positive else "no" for positive in self.decide(predicted, thresholds)[0]]
        return [value for pair in zip(decisions, predicted[0].tolist(), strict=True) for value in pair]

    def evaluated(self, evaluation: Any) -> dict[str, list]:
        decided = self.decide(evaluation.predictions, evaluation.thresholds).astype(float)
        names = [f"predicted: {name}" for name in evaluation.classes]
        return super().evaluated(evaluation) | dict(zip(names, decided.T.tolist(), strict=True))


class Measurements(Target):
    """Several numbers of a sequence, such as a solubility or a retention time."""

    name = "regression"
    numbers = True
    duplicates = ("keep", "mean", "drop")
    about = "labels: count, mean ± standard deviation"
    metrics = ("rmse", "mae", "p95_error", "r2", "pearson", "spearman")

    def in_words(self, classes: Names) -> str:
        return f"{len(classes)} numbers" if len(classes) > 1 else classes[0]

    def cells(self, labels: Array, classes: Names) -> list[str]:
        known = [label[~np.isnan(label)].astype(float) for label in labels.T]
        return [f"{len(of):,}, {of.mean():.4g} ± {of.std():.4g}" if len(of) else "0" for of in known]

    def decide(self, predictions: Array, thresholds: Array | None) -> Array:
        return predictions

    def measure(self, predictions: Array, labels: Array, classes: Names, **options: Any) -> Measured:
        from trimer.metrics.label_metrics import regression

        options.pop("thresholds", None)
        return regression(predictions, labels, tasks=classes, **options)

    def mean_loss(self, predictions: Array, labels: Array, deviation: Array) -> float:
        return float((((predictions - labels) / deviation) ** 2)[~np.isnan(labels)].mean())

    def outputs(self, classes: Names) -> list[str]:
        return [number_columns(name, classes)[0] for name in classes]

    def columns(self, classes: Names) -> list[str]:
        return [column for name in classes for column in number_columns(name, classes)]

    def row(self, predicted: Array, classes: Names, thresholds: Array, half_widths: Sequence[float]) -> list:
        pairs = zip(predicted[0].tolist(), half_widths, strict=True)
        return [value for number, half_width in pairs for value in (number, *interval(number, half_width))]

    def evaluated(self, evaluation: Any) -> dict[str, list]:
        columns = super().evaluated(evaluation)
        if evaluation.half_widths is not None:
            predictions, widths = evaluation.predictions.T.tolist(), evaluation.half_widths.tolist()
            for name, predicted, width in zip(evaluation.classes, predictions, widths, strict=True):
                ends = [interval(number, width) for number in predicted]
                columns |= {f"low: {name}": [low for low, _ in ends], f"high: {name}": [high for _, high in ends]}
        return columns


KINDS = (OneClass(), YesOrNo(), Measurements(), ResidueClasses())
TARGETS: dict[str, Target] = {kind.name: kind for kind in KINDS}


def target_of(name: str) -> Target:
    """The kind of labels with a name of a config or a checkpoint; ConfigError if there is none."""
    if name not in TARGETS:
        raise ConfigError(f"data.target={name} must be one of {', '.join(TARGETS)}")
    return TARGETS[name]


def joined_labels(labels: Sequence[str | None]) -> str:
    """The text of residue labels that `residue_labels.split_labels` reads: letters, or JSON if needed."""
    letters = [label for label in labels if label is not None and len(label) == 1]
    plain = len(letters) == len(labels) and letters[:1] != ["["]
    return "".join(letters) if plain else json.dumps(labels, ensure_ascii=False)


def number_columns(name: str, names: Names) -> list[str]:
    """The columns of a number and of the ends of its interval, none of which is that of another of the names."""
    shown = f"predicted {name}" if name in HEADS else name
    ends = [(f"{shown}{end}", f"interval {name}{end}") for end in ("_low", "_high")]
    return [shown, *(other if end in {*HEADS, *names} else end for end, other in ends)]


def interval(number: float, half_width: float) -> tuple[float | None, float | None]:
    """The ends of the interval around a number, which are None if the half-width is NaN."""
    return (None, None) if math.isnan(half_width) else (number - half_width, number + half_width)
