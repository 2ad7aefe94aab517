"""Evaluate a model of labels on a split, and compare it with baselines: same rows, same metrics, one table.

Shapes: n rows of the split, C classes or K labels, R residues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trimer.baselines.model_before import CURVES, calibrated
from trimer.baselines.stored_boosting import NAME as BOOSTING
from trimer.evaluation.baseline_choice import chosen_baselines
from trimer.evaluation.calibration import fitted, mean_probabilities
from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.evaluation import Evaluation
from trimer.evaluation.label_comparison import baseline_results, baselines_of, thresholds_like
from trimer.evaluation.label_outputs import averaged_predictions, raw_outputs
from trimer.files import write_csv, write_text
from trimer.metrics.conformal import OF_INTERVALS
from trimer.metrics.label_metrics import RESAMPLES, Measured, confusion, per_class
from trimer.models.labelled_model import Labelled
from trimer.prediction.averaging import ALONE, CANONICAL, Averaging
from trimer.reporting.table import DIFFERENCE, ResultTable, column
from trimer.targets import Target, target_of

log = logging.getLogger(__name__)


@dataclass
class LabelEvaluation(Evaluation):
    """The table of methods by metrics, and the predictions of the model for each row.

    predictions: (n, C), (n, K) or (R, C). labels: (n,), (n, K) or (R,). thresholds: (C,) or (K,), which turn
    probabilities into decisions. half_widths: (K,) of the 90 % intervals of numbers. undefined: method -> metric -> why
    it has no value.
    For residues these are the residues with a label; whole: predictions, labels and row of all residues.
    applicability: (n,), NaN if unknown (`trimer.evaluation.applicability`); None if the checkpoint does not support it.
    """

    table: ResultTable
    metrics: dict[str, float]
    target: str
    classes: list[str]
    ids: list[str]
    texts: list[str]
    predictions: np.ndarray
    labels: np.ndarray
    thresholds: np.ndarray | None = None
    half_widths: np.ndarray | None = None
    undefined: dict[str, dict[str, str]] = field(default_factory=dict)
    whole: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    applicability: np.ndarray | None = None

    @property
    def kind(self) -> Target:
        """The kind of labels."""
        return target_of(self.target)

    def save(self, out: Path) -> None:
        """Write `table.*`, `undefined.json` and `predictions.parquet`; for classes and labels `probabilities.csv`.

        For classes also `classes.csv` and `confusion.csv`; `applicability.csv` where it is known.
        """
        from trimer.evaluation.applicability import COLUMNS, errors_by_applicability

        self.table.save(out)
        write_text(out / "undefined.json", json.dumps(self.undefined, indent=1) + "\n")
        pq.write_table(pa.table(self.prediction_columns()), out / "predictions.parquet")
        if probabilities := self.probabilities():
            write_csv(out / "probabilities.csv", list(probabilities[0]), probabilities)
        errors = self.kind.errors(self.predictions, self.labels, self.thresholds)
        if self.applicability is not None and errors is not None:
            write_csv(out / "applicability.csv", COLUMNS, errors_by_applicability(self.applicability, errors))
        if self.kind.has_classes:
            rows = per_class(self.predictions, self.labels, self.classes, self.thresholds)
            write_csv(out / "classes.csv", list(rows[0]), rows)
            counts = confusion(self.predictions, self.labels, self.thresholds).tolist()
            lines = [[name, *row] for name, row in zip(self.classes, counts, strict=True)]
            write_csv(out / "confusion.csv", ["true \\ predicted", *self.classes], lines)

    def probabilities(self) -> list[dict]:
        """Mean probability, share and threshold of each class or label; empty for numbers."""
        if self.kind.numbers:
            return []
        return mean_probabilities(self.target, self.predictions, self.labels, self.classes, self.thresholds)

    def reasons(self) -> list[dict]:
        """Why a metric of the table is undefined, or leaves something out: a row for each reason."""
        return [
            {"method": method, "metric": column(name).label, "why": reasons[name]}
            for method, reasons in self.undefined.items()
            for name in self.table.columns
            if name in reasons
        ]

    def prediction_columns(self) -> dict[str, list]:
        """Columns of the table of predictions: id, text, true labels, predictions and probabilities."""
        columns: dict[str, list] = {"id": self.ids, "text": self.texts}
        if self.applicability is not None:
            columns["applicability"] = [None if np.isnan(value) else float(value) for value in self.applicability]
        return columns | self.kind.evaluated(self)


def evaluate_labels(
    net: Labelled,
    data,
    split: str = "test",
    *,
    name: str = "model",
    baselines: bool | Sequence[str] = True,
    before: Labelled | None = None,
    averaging: Averaging | None = None,
    bootstrap: int = RESAMPLES,
    seed: int = 0,
) -> LabelEvaluation:
    """Predict every row of a split and compute metrics. The baselines are fitted on train and predict the same rows.

    Each other method has the differences of the model to it, paired by the resamples of rows (`paired_differences`).
    A baseline that fails has a row without values, and its reason. baselines: as in `chosen_baselines`.
    before: the model before fine-tuning, whose head was trained on the same labels. averaging: of the model; its parts
    alone are further rows.
    """
    averaging, kind = averaging or Averaging(), target_of(data.target)
    name = averaging.method(name)
    rows = data.split.rows(split)
    raw, labels, owners = raw_outputs(net, data, split)
    canonical = net.predictions(raw.to(net.mean.device)).cpu().numpy()
    table = ResultTable(metrics=columns_of(kind))
    result = LabelEvaluation(
        table,
        {},
        data.target,
        list(data.classes),
        data.ids(rows),
        data.texts(rows),
        canonical,
        labels.numpy(),
        net.thresholds,
        net.half_widths,
    )
    if kind.by_residue:
        result.whole = result.predictions, result.labels, owners
    language = averaged_predictions(net, data, split, averaging, canonical) if averaging.random_smiles else canonical
    result.predictions = averaging.with_boosting(language, result.texts)
    known = kind.known(labels.numpy())
    result.predictions, result.labels = result.predictions[known], result.labels[known]
    groups = owners[known] if kind.by_residue else None

    measured: dict[str, Measured] = {}

    def add(method: str, predicted: np.ndarray | None, thresholds: np.ndarray | None = None, note: str = "") -> None:
        widths = result.half_widths if method == name else None
        if predicted is None:
            metrics = Measured(dict.fromkeys(kind.metrics, float("nan")))
        else:
            options: dict[str, Any] = {"groups": groups, "seed": seed, "thresholds": thresholds, "half_widths": widths}
            metrics = kind.measure(predicted, result.labels, data.classes, bootstrap=bootstrap, **options)
        measured[method], result.undefined[method] = metrics, dict(metrics.undefined)
        if note:
            main = kind.metrics[0]
            result.undefined[method][main] = "; ".join(filter(None, (metrics.undefined.get(main), note)))

    chosen = chosen_baselines(baselines, baselines_of(data)) if baselines else []
    for baseline in baseline_results(net, data, result.texts, seed, averaging.boosting, chosen):
        predicted = None if baseline.predictions is None else baseline.predictions[known]
        add(baseline.method, predicted, baseline.thresholds, baseline.note)
    for method, predicted, thresholds in _parts(net, data, averaging, canonical, language):
        add(method, predicted, thresholds)
    if averaging.boosting is not None and BOOSTING not in chosen:
        add(BOOSTING, averaging.boosting.predict(result.texts))
    earlier = {} if before is None else _before(before, data, split)
    for method, predicted in earlier.items():
        add(method, predicted, None if before is None else before.thresholds)
    add(name, result.predictions, result.thresholds)
    add_methods(table, name, measured, kind.metrics)
    result.metrics = measured[name].without_ends()
    better = [m for m in earlier if kind.numbers and measured[m].values["mae"] < measured[name].values["mae"]]
    if better:
        log.warning("%s has a higher MAE than '%s': fine-tuning did not improve on that", name, better[0])
    return result


def _parts(
    net: Labelled, data, averaging: Averaging, canonical: np.ndarray, language: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """The parts of an average: name, predictions, and thresholds if those of the network are chosen on validation."""
    if averaging.random_smiles:
        yield CANONICAL, canonical, thresholds_like(net, data, lambda: net_predictions(net, data, "val"))
    if averaging.boosting is not None:
        alone = Averaging(averaging.random_smiles, averaging.seed)
        yield ALONE, language, thresholds_like(net, data, lambda: net_predictions(net, data, "val", alone))


def columns_of(kind: Target) -> tuple[str, ...]:
    """The columns of a result table: the metrics, the difference to each method behind the main one, and intervals."""
    main, *others = kind.metrics
    return (main, main + DIFFERENCE, *others, *(OF_INTERVALS if kind.numbers else ()))


def _before(before: Labelled, data, split: str) -> dict[str, np.ndarray]:
    """Predictions of the model before fine-tuning; of numbers also recalibrated by a linear and a spline fit."""
    predicted = net_predictions(before, data, split)
    predictions = {"before fine-tuning": predicted}
    if before.kind.numbers:
        train, true = net_predictions(before, data, "train"), data.training_labels().numpy()
        for curve in CURVES:
            columns = [calibrated(curve, train[:, k], true[:, k], predicted[:, k]) for k in range(predicted.shape[1])]
            predictions[f"calibrated only, {curve}"] = np.stack(columns, 1)
    return predictions


def net_predictions(net: Labelled, data, split: str, averaging: Averaging | None = None) -> np.ndarray:
    """(n, K) predictions of the language model for a split, averaged over random SMILES if the averaging has some."""
    canonical = net.predictions(raw_outputs(net, data, split)[0].to(net.mean.device)).cpu().numpy()
    return canonical if averaging is None else averaged_predictions(net, data, split, averaging, canonical)


def calibration(net: Labelled, data, split: str = "val") -> dict[str, torch.Tensor]:
    """Temperatures, thresholds and intervals of the network, fitted on a split that its weights were not trained on."""
    raw, labels, _ = raw_outputs(net, data, split)
    known = target_of(data.target).known(labels)
    return fitted(net, raw[known], labels[known].numpy())
