"""A model of labels on a split, beside what it has to beat: the same rows, the same metrics, one table.

Shapes: n rows of the split, C classes or K labels, R residues.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trimer.baselines.label_baselines import FOR_MOLECULES, FOR_PEPTIDES, FOR_PROTEINS, Majority
from trimer.baselines.model_before import CURVES, calibrated
from trimer.data.labelled.residue_labels import joined_labels
from trimer.evaluation.calibration import chosen_for, fitted, mean_probabilities
from trimer.metrics.decisions import decide_classes, decide_labels
from trimer.metrics.label_metrics import (
    RESAMPLES,
    Measured,
    confusion,
    multi_label,
    per_class,
    regression,
    single_label,
)
from trimer.models.labelled_model import Labelled
from trimer.reporting.table import HIGH, LOW, ResultTable, column

log = logging.getLogger(__name__)

BASELINES = {"molecules": FOR_MOLECULES, "proteins": FOR_PROTEINS, "peptides": FOR_PEPTIDES}
METRICS = {
    "single": ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "auroc", "ece"),
    "residue": ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "auroc", "ece"),
    "multi": ("auroc", "average_precision", "balanced_accuracy", "macro_f1", "mcc"),
    "regression": ("rmse", "mae", "p95_error", "r2", "pearson", "spearman"),
}


@dataclass
class LabelEvaluation:
    """The table of methods by metrics, and what the model said of each row.

    answers: (n, C), (n, K) or (R, C). labels: (n,), (n, K) or (R,). thresholds: (C,) or (K,) by which answers are taken
    from probabilities. undefined: method -> metric -> why it has no value.
    Of residues these are the ones with a label; whole: answers, labels and row of all of them.
    """

    table: ResultTable
    metrics: dict[str, float]
    target: str
    classes: list[str]
    ids: list[str]
    texts: list[str]
    answers: np.ndarray
    labels: np.ndarray
    thresholds: np.ndarray | None = None
    undefined: dict[str, dict[str, str]] = field(default_factory=dict)
    whole: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def has_classes(self) -> bool:
        """Whether each row, or each residue, is of one class."""
        return self.target in ("single", "residue")

    def named(self, split: str) -> dict[str, float]:
        """The metrics under the name of the split, as `test/accuracy`."""
        return {f"{split}/{name}": value for name, value in self.metrics.items()}

    def save(self, out: Path) -> None:
        """Write `table.*`, `undefined.json`, `predictions.parquet`; of classes and labels `probabilities.csv`.

        Of classes also `classes.csv` and `confusion.csv`.
        """
        self.table.save(out)
        (out / "undefined.json").write_text(json.dumps(self.undefined, indent=1) + "\n", encoding="utf-8")
        pq.write_table(pa.table(self.predictions()), out / "predictions.parquet")
        if probabilities := self.probabilities():
            _write_csv(out / "probabilities.csv", list(probabilities[0]), [list(row.values()) for row in probabilities])
        if self.target in ("single", "residue"):
            rows = per_class(self.answers, self.labels, self.classes, self.thresholds)
            _write_csv(out / "classes.csv", list(rows[0]), [list(row.values()) for row in rows])
            counts = confusion(self.answers, self.labels, self.thresholds).tolist()
            lines = [[name, *row] for name, row in zip(self.classes, counts, strict=True)]
            _write_csv(out / "confusion.csv", ["true \\ predicted", *self.classes], lines)

    def probabilities(self) -> list[dict]:
        """Mean probability, share and threshold of each class or label; nothing of numbers."""
        if self.target == "regression":
            return []
        return mean_probabilities(self.target, self.answers, self.labels, self.classes, self.thresholds)

    def reasons(self) -> list[dict]:
        """Why a metric of the table has no value, or leaves something out: a row for each reason."""
        return [
            {"method": method, "metric": column(name).label, "why": said[name]}
            for method, said in self.undefined.items()
            for name in self.table.columns
            if name in said
        ]

    def predictions(self) -> dict[str, list]:
        """A column for each fact about a row: id, text, what is true, what was said, and how sure."""
        columns: dict[str, list] = {"id": self.ids, "text": self.texts}
        if self.target == "residue":
            return columns | self._of_residues()
        if self.target == "single":
            columns["label"] = [self.classes[label] for label in self.labels]
            columns["predicted"] = [self.classes[label] for label in decide_classes(self.answers, self.thresholds)]
            names = [f"probability of {name}" for name in self.classes]
            return columns | dict(zip(names, self.answers.T.tolist(), strict=True))
        said = "probability" if self.target == "multi" else "predicted"
        for name, labels, answers in zip(self.classes, self.labels.T, self.answers.T, strict=True):
            columns[f"label: {name}"] = [None if np.isnan(value) else float(value) for value in labels]
            columns[f"{said}: {name}"] = answers.tolist()
        if self.target == "multi":
            decided = decide_labels(self.answers, self.thresholds)
            names = [f"predicted: {name}" for name in self.classes]
            columns |= dict(zip(names, decided.astype(float).T.tolist(), strict=True))
        return columns

    def _of_residues(self) -> dict[str, list]:
        """Columns with a text of labels, or a list of numbers, of each sequence; null for a residue without a label."""
        answers, labels, owners = self.whole
        cuts = np.flatnonzero(np.diff(owners)) + 1
        decided = decide_classes(answers, self.thresholds)
        names = [*self.classes, None]  # of a residue without a label the last one
        true = np.split(np.where(labels < 0, len(self.classes), labels), cuts)
        columns = {
            "label": [joined_labels([names[number] for number in row]) for row in true],
            "predicted": [joined_labels([names[n] for n in row]) for row in np.split(decided, cuts)],
        }
        for name, said in zip(self.classes, answers.T, strict=True):
            columns[f"probability of {name}"] = [row.tolist() for row in np.split(said, cuts)]
        return columns


def evaluate_labels(
    net: Labelled,
    data,
    split: str = "test",
    *,
    name: str = "model",
    baselines: bool = True,
    before: Labelled | None = None,
    bootstrap: int = RESAMPLES,
    seed: int = 0,
) -> LabelEvaluation:
    """Answer for every row of a split and measure it. The baselines are fitted on train and answer the same rows.

    before: the network that fine-tuning began with, whose head has learnt these labels.
    """
    rows = data.split.rows(split)
    raw, labels, owners = answered(net, data, split)
    table = ResultTable(metrics=METRICS[data.target])
    result = LabelEvaluation(
        table,
        {},
        data.target,
        list(data.classes),
        data.ids(rows),
        data.texts(rows),
        net.answers(raw.to(net.mean.device)).cpu().numpy(),
        labels.numpy(),
        net.thresholds,
    )
    if data.target == "residue":
        result.whole = result.answers, result.labels, owners
    known = labels.numpy() != -100 if data.target == "residue" else slice(None)
    result.answers, result.labels = result.answers[known], result.labels[known]
    groups = owners[known] if data.target == "residue" else None

    def add(method: str, said: np.ndarray, baseline: bool, thresholds: np.ndarray | None = None) -> Measured:
        measured = measure(data.target, said, result.labels, data.classes, bootstrap, groups, seed, thresholds)
        table.add(method, measured.values, baseline=baseline)
        result.undefined[method] = measured.undefined
        return measured

    for method, make in (of_data(data) if baselines else {}).items():
        said, thresholds = make(net, data, result, seed)
        add(method, said, True, thresholds)
    earlier = {} if before is None else _before(before, data, split)
    for method, said in earlier.items():
        add(method, said, True, None if before is None else before.thresholds)
    said = add(name, result.answers, False, result.thresholds).values
    result.metrics = {name: value for name, value in said.items() if not name.endswith((LOW, HIGH))}
    lost = [method for method in earlier if data.target == "regression" and _worse(table, name, method)]
    if lost:
        log.warning("%s has a higher MAE than '%s': fine-tuning was not worth its while", name, lost[0])
    return result


def _before(before: Labelled, data, split: str) -> dict[str, np.ndarray]:
    """Answers of the network before fine-tuning; of numbers also those that a curve brings to the new scale."""
    device = before.mean.device
    said = before.answers(answered(before, data, split)[0].to(device)).cpu().numpy()
    found = {"before fine-tuning": said}
    if data.target == "regression":
        raw, labels, _ = answered(before, data, "train")
        train, labels = before.answers(raw.to(device)).cpu().numpy(), labels.numpy()
        for curve in CURVES:
            columns = [calibrated(curve, train[:, k], labels[:, k], said[:, k]) for k in range(said.shape[1])]
            found[f"calibrated only, {curve}"] = np.stack(columns, 1)
    return found


def _worse(table: ResultTable, name: str, method: str) -> bool:
    mae = {row["method"]: row["values"]["mae"] for row in table.rows}
    return mae[name] > mae[method]


def measure(
    target: str, answers, labels, classes, bootstrap: int = RESAMPLES, groups=None, seed: int = 0, thresholds=None
) -> Measured:
    """The metrics of a kind of label; one yes-or-no label or one number is not called a mean over tasks."""
    options = {"bootstrap": bootstrap, "groups": groups, "seed": seed}
    if target == "regression":
        return regression(answers, labels, tasks=classes, **options)
    options["thresholds"] = thresholds
    if target in ("single", "residue"):
        return single_label(answers, labels, classes=classes, **options)
    return multi_label(answers, labels, tasks=classes, **options)


@torch.no_grad()
def answered(net: Labelled, data, split: str) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Raw answers and labels of a split, in the order of its rows, and the (n,) or (R,) row that each belongs to."""
    device = next(net.parameters()).device
    raw, labels, owners = [], [], []
    for batch in data.evaluation_batches(split):
        here = batch.to(device)
        raw.append(net(here.sequence).float().cpu())
        labels.append(batch.labels)
        counts = [size - 2 for size in batch.sequence.sizes] if data.target == "residue" else 1
        owners.append(np.repeat(batch.rows.numpy(), counts))
    return torch.cat(raw), torch.cat(labels), np.concatenate(owners)


def calibration(net: Labelled, data, split: str = "val") -> dict[str, torch.Tensor]:
    """The buffers of the network that are fitted on a split which the weights were not fitted to."""
    raw, labels, _ = answered(net, data, split)
    if data.target == "residue":
        raw, labels = raw[labels != -100], labels[labels != -100]
    return fitted(net, raw, labels.numpy())


def of_data(data) -> dict:
    """Name -> (network, data, evaluation, seed) -> answers of the baselines that suit the data, and their thresholds.

    Thresholds are chosen on the validation part where those of the network were, so that all methods have the same.
    """
    if data.target == "residue":
        return {"trivial baseline: majority or mean": _frequencies}

    def fit(factory):
        def answer(net, data, result: LabelEvaluation, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
            train = data.split.rows("train")
            options = {"classes": len(data.classes)} if data.target == "single" else {}
            model = factory(data.target, seed).fit(data.texts(train), data.training_labels().numpy(), **options)
            rows = data.split.rows("val") if "val" in data.split.names and data.target != "regression" else []
            chosen = chosen_for(net, model.predict(data.texts(rows)), data.labels[rows]) if len(rows) else None
            return model.predict(result.texts), chosen

        return answer

    return {method: fit(factory) for method, factory in BASELINES[data.sequences.plural].items()}


def _frequencies(net, data, result: LabelEvaluation, seed: int) -> tuple[np.ndarray, None]:
    labels = data.training_labels().numpy()
    labels = labels[labels != -100]
    model = Majority("single", seed).fit([""] * len(labels), labels, classes=len(data.classes))
    return model.predict([""] * len(result.labels)), None


def _write_csv(path: Path, header: list, rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([header, *rows])
