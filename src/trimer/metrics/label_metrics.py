"""Metrics of predicted labels: one class of several, several yes-or-no labels, or numbers.

Plain arrays in, plain floats out, under the field's names. Each value comes with its standard error,
`<name>_std_error`, and its 95 % interval, `<name>_ci95_low` and `_ci95_high`, from resampled rows or groups. Rows are
resampled within their classes (for several labels within the rarest label of a row), so that no resample loses a rare
class; resamples of groups that lose one are left out. Undefined metrics are NaN and undefined intervals are missing,
both with a reason.

Shapes: n rows, C classes, K tasks. The metrics themselves are in `trimer.metrics.weighted_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from trimer.metrics import weighted_rows as weighted
from trimer.metrics.conformal import OF_INTERVALS, interval_metrics
from trimer.metrics.decisions import decide_classes, decide_labels, relative
from trimer.metrics.intervals import LOSES, Measured, nothing, remove_spread, undefine, with_errors, without_lost
from trimer.metrics.temperature import bin_of

LEAST = np.finfo(float).eps  # a probability of 0 for the true class costs 36 nats, as in scikit-learn, not infinity
OF_CONFUSION = ("balanced_accuracy", "macro_f1", "mcc")
MACRO = ("macro_precision", "macro_recall")  # of one class of several
MICRO = ("micro_precision", "micro_recall", "exact_match")  # over the labels of all tasks together
TELLING_APART = (*OF_CONFUSION, "auroc", "average_precision")  # undefined for a single class
OF_SEVERAL = ("r2", "spearman", "pearson", "r_squared", "slope", "intercept")  # undefined for a single number
RESAMPLES = 1000


def single_label(
    probabilities: np.ndarray,
    labels: np.ndarray,
    top: Sequence[int] = (1, 3),
    bootstrap: int = RESAMPLES,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    thresholds: np.ndarray | None = None,
) -> Measured:
    """One class of several: (n, C) probabilities against (n,) classes.

    accuracy and top<k>_accuracy (for each k below C; of equal probabilities the first class counts first),
    balanced_accuracy, macro_f1, macro_precision, macro_recall, mcc; auroc and average_precision, of class 1 where there
    are two classes, else the mean over one-versus-rest of the classes that occur; cross_entropy in nats; ece, of class
    1 where there are two, else the mean of each class against the others. Macro averages are over the classes that
    occur or are predicted; a class that is never predicted has a precision of 0. groups: (n,) rows of one group are
    resampled together. classes: C names for the reasons, else numbers. thresholds: (C,), by which probabilities become
    decisions (`trimer.metrics.decisions`).
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    _check_classes(probabilities, labels, classes)
    rows, count = probabilities.shape
    called = list(range(count)) if classes is None else list(classes)
    order = np.argsort(-relative(probabilities, thresholds), axis=1, kind="stable")  # (n, C)
    rank = (order == labels[:, None]).argmax(1)
    shares = {("accuracy" if k == 1 else f"top{k}_accuracy"): rank < k for k in top if k < count}
    loss = -np.log(np.clip(probabilities[np.arange(rows), labels], LEAST, 1))
    seen = np.bincount(labels, minlength=count)
    scored = [1] if count == 2 else [c for c in range(count) if 0 < seen[c] < rows]
    calibrated = [1] if count == 2 else range(count)
    bins = {c: bin_of(probabilities[:, c]) for c in calibrated}

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        confusion = weighted.confusions(labels, order[:, 0], count, weights)
        values = {name: weighted.mean(hit, weights) for name, hit in shares.items()}
        values |= _of_confusion(confusion, (*OF_CONFUSION, *MACRO))
        none = [np.full(len(weights), np.nan)]
        by_class = [_of_scores(probabilities[:, c], labels == c, weights) for c in scored]
        for name in ("auroc", "average_precision"):
            values[name] = weighted.nanmean(np.stack([scores[name] for scores in by_class] or none, -1))
        values["cross_entropy"] = weighted.mean(loss, weights)
        gaps = [(labels == c) - probabilities[:, c] for c in calibrated]
        errors = [weighted.calibration_error(gap, bins[c], weights) for gap, c in zip(gaps, calibrated, strict=True)]
        values["ece"] = np.mean(errors, axis=0)
        values[LOSES] = (confusion.sum(2)[:, seen > 0] == 0).any(1)
        return values

    names = [*shares, *TELLING_APART, *MACRO, "cross_entropy", "ece"]
    if rows == 0:
        return nothing(names, "there are no rows")
    draws = weighted.in_blocks(measure, weighted.weightings(rows, bootstrap, groups, seed, labels))
    lost = without_lost(draws, (*TELLING_APART, *MACRO))
    measured = with_errors(draws)
    measured.correct = rank < 1 if groups is None else None
    lone = [called[c] for c in np.flatnonzero(seen == 1)]
    if bootstrap:
        remove_spread(measured, (*TELLING_APART, *MACRO), lost, lone, int(np.count_nonzero(seen)))
    absent = np.flatnonzero(seen == 0)
    if len(absent) >= count - 1:
        undefine(measured, (*TELLING_APART, *MACRO), f"only class {called[labels[0]]} occurs")
    elif len(absent):
        missing = _classes([called[number] for number in absent])
        without = f"{missing} not occur; the mean is over the other {count - len(absent)}"
        measured.undefined |= dict.fromkeys(("auroc", "average_precision"), without)
    return measured


def multi_label(
    probabilities: np.ndarray,
    labels: np.ndarray,
    tasks: Sequence[str] | None = None,
    bootstrap: int = RESAMPLES,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
    thresholds: np.ndarray | None = None,
) -> Measured:
    """Several yes-or-no labels: (n, K) probabilities of "yes" against (n, K) labels 0, 1 or NaN for missing.

    auroc, average_precision, balanced_accuracy, macro_f1 (over "yes" and "no"), mcc, accuracy, cross_entropy, ece and
    labels_seen: for each task as `<task>/<name>` where K > 1, and their means over the tasks that have them
    (labels_seen: the sum). micro_precision and micro_recall of "yes", over the labels of all tasks as if they were of
    one; exact_match, the share of the rows with all their labels right. thresholds: (K,) probability above which
    "yes" is predicted, 0.5 by default. tasks: K names, else "task 0" and so on.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels, float)
    tasks = _check_tasks(probabilities, labels, tasks)
    wrong = np.argwhere(~np.isnan(labels) & (labels != 0) & (labels != 1))
    if len(wrong):
        raise ValueError(f"label {labels[tuple(wrong[0])]:g} of row {wrong[0][0]}: labels are 0, 1 or NaN for missing")
    if len(probabilities) and (probabilities.min() < 0 or probabilities.max() > 1):
        raise ValueError("probabilities must be between 0 and 1: pass probabilities instead of logits")

    decided = decide_labels(probabilities, thresholds)

    def measure(task: int, known: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        predicted, true = probabilities[known, task], labels[known, task] == 1
        confusion = weighted.confusions(true.astype(int), decided[known, task].astype(int), 2, weights)
        loss = -np.log(np.clip(np.where(true, predicted, 1 - predicted), LEAST, 1))
        return {
            **_of_scores(predicted, true, weights),
            **_of_confusion(confusion, OF_CONFUSION),
            "accuracy": weighted.accuracy(confusion),
            "cross_entropy": weighted.mean(loss, weights),
            "ece": weighted.calibration_error(true - predicted, bin_of(predicted), weights),
            LOSES: (confusion.sum(2) == 0).any(1),
        }

    def reason(task: int) -> tuple[tuple[str, ...], str]:
        seen = np.unique(labels[~np.isnan(labels[:, task]), task])
        return TELLING_APART, f"all labels are {seen[0]:g}" if len(seen) == 1 else ""

    names = ("auroc", "average_precision", "balanced_accuracy", "macro_f1", "mcc", "accuracy", "cross_entropy", "ece")
    by_task = _over_tasks(measure, reason, names, labels, tasks, bootstrap, groups, seed, yes_or_no=True)
    together = _micro(decided, labels, bootstrap, groups, seed)
    return Measured({**by_task.values, **together.values}, {**by_task.undefined, **together.undefined}, by_task.draws)


def _micro(decided: np.ndarray, labels: np.ndarray, bootstrap: int, groups, seed: int) -> Measured:
    """Metrics over all labels together: precision and recall of "yes", and the share of rows without a mistake."""
    known = ~np.isnan(labels)
    rows = known.any(1)  # rows without any label do not count
    if not rows.any():
        return nothing(MICRO, "there are no labels")
    predicted, true = decided & known, labels == 1
    cells = (predicted & true, predicted, true)
    correct, positive_predictions, positives = (np.count_nonzero(cell, 1) for cell in cells)
    exact = (predicted == true).all(1)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "micro_precision": weighted.ratio(weights @ correct, weights @ positive_predictions),
            "micro_recall": weighted.ratio(weights @ correct, weights @ positives),
            "exact_match": weighted.mean(exact[rows], weights[:, rows]),
        }

    weights = weighted.weightings(len(labels), bootstrap, groups, seed, weighted.rarest_label(labels))
    measured = with_errors(weighted.in_blocks(measure, weights))
    undefine(measured, MICRO[:1], "" if positive_predictions.any() else "no label is predicted")
    undefine(measured, MICRO[1:2], "" if positives.any() else "no label is true")
    return measured


def regression(
    predicted: np.ndarray,
    labels: np.ndarray,
    tasks: Sequence[str] | None = None,
    bootstrap: int = RESAMPLES,
    groups: Sequence | np.ndarray | None = None,
    seed: int = 0,
    half_widths: np.ndarray | None = None,
) -> Measured:
    """Numbers: (n, K) or (n,) predicted against labels of the same shape, NaN for missing, in the unit of the labels.

    rmse, mae, p95_error (the 95th percentile of the absolute error), r2 (of the labels about their own mean, not a
    squared correlation), spearman; slope, intercept, pearson and r_squared of the line of labels on predictions; and
    labels_seen: for each task as `<task>/<name>` where K > 1, and their means over the tasks that have them
    (labels_seen: the sum). half_widths: (K,) or (n, K) of intervals, which add coverage and interval_width.
    """
    predicted, labels = (np.asarray(array, float) for array in (predicted, labels))
    predicted, labels = (array[:, None] if array.ndim == 1 else array for array in (predicted, labels))
    tasks = _check_tasks(predicted, labels, tasks)
    widths = None if half_widths is None else np.broadcast_to(half_widths, labels.shape)

    def measure(task: int, known: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        numbers, true = predicted[known, task], labels[known, task]
        errors = np.abs(numbers - true)
        return {
            "rmse": np.sqrt(weighted.mean(errors**2, weights)),
            "mae": weighted.mean(errors, weights),
            "p95_error": weighted.percentile(errors, 0.95, weights),
            "r2": weighted.r2(numbers, true, weights),
            "spearman": weighted.spearman(numbers, true, weights),
            **weighted.line(numbers, true, weights),
            **({} if widths is None else interval_metrics(errors, widths[known, task], weights)),
        }

    def reason(task: int) -> tuple[tuple[str, ...], str]:
        known = ~np.isnan(labels[:, task])
        if known.sum() == 1:
            return OF_SEVERAL, "there is one label only"
        if len(np.unique(labels[known, task])) == 1:
            return ("r2", "spearman", "pearson", "r_squared"), "all labels are the same"
        constant = known.any() and len(np.unique(predicted[known, task])) == 1
        return OF_SEVERAL[1:], "all predictions are the same" if constant else ""

    names = ("rmse", "mae", "p95_error", *OF_SEVERAL, *(() if widths is None else OF_INTERVALS))
    return _over_tasks(measure, reason, names, labels, tasks, bootstrap, groups, seed)


def per_class(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], thresholds: np.ndarray | None = None
) -> list[dict]:
    """A row for each class: `class`, `precision`, `recall`, `f1`, `support` (its rows), `predicted` (count).

    The precision of a class that is never predicted and the recall of one that does not occur are NaN.
    """
    probabilities = np.asarray(probabilities, float)
    _check_classes(probabilities, np.asarray(labels), classes)
    decided = decide_classes(probabilities, thresholds)
    scores = precision_recall_fscore_support(labels, decided, labels=np.arange(len(classes)), zero_division=np.nan)
    predicted = np.bincount(decided, minlength=len(classes))
    return [
        {
            "class": str(name), "precision": float(precision), "recall": float(recall), "f1": float(f1),
            "support": int(support), "predicted": int(count),
        }
        for name, precision, recall, f1, support, count in zip(classes, *scores, predicted, strict=True)
    ]  # fmt: skip


def confusion(probabilities: np.ndarray, labels: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
    """(C, C) counts: rows of each true class (down) by the predicted class (across)."""
    probabilities = np.asarray(probabilities, float)
    _check_classes(probabilities, np.asarray(labels))
    return confusion_matrix(labels, decide_classes(probabilities, thresholds), labels=np.arange(probabilities.shape[1]))


def _of_scores(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    right, wrong = weighted.by_score(scores, positive, weights)
    return {name: getattr(weighted, name)(right, wrong) for name in ("auroc", "average_precision")}


def _of_confusion(confusion: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: getattr(weighted, name)(confusion) for name in names}


def _over_tasks(
    measure: Callable[[int, np.ndarray, np.ndarray], dict[str, np.ndarray]],
    reason: Callable[[int], tuple[tuple[str, ...], str]],
    names: Sequence[str],
    labels: np.ndarray,
    tasks: Sequence[str],
    bootstrap: int,
    groups: Sequence | np.ndarray | None,
    seed: int,
    yes_or_no: bool = False,
) -> Measured:
    """The metrics of each task if there are several, and the means over the tasks for which a metric is defined.

    names: of the metrics that are undefined, with a reason, for a task without labels.
    """
    strata = weighted.rarest_label(labels) if yes_or_no else None
    weights = weighted.weightings(len(labels), bootstrap, groups, seed, strata)
    out = Measured()
    by_task: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for task, called in enumerate(tasks):
        known = ~np.isnan(labels[:, task])
        if known.any():
            draws = weighted.in_blocks(partial(measure, task, known), weights[:, known])
            lost = without_lost(draws, TELLING_APART)
            measured = with_errors(draws)
            undefine(measured, *reason(task))
            if yes_or_no and bootstrap:
                yes, no = (labels[known, task] == 1).sum(), (labels[known, task] == 0).sum()
                lone = ["yes"] * int(yes == 1) + ["no"] * int(no == 1)
                remove_spread(measured, TELLING_APART, lost, lone, 2)
        else:
            draws, measured = {}, nothing(names, "there are no labels")
        for name in draws:
            if math.isfinite(measured.values[name]):
                by_task.setdefault(name, []).append(draws[name])
        measured.values["labels_seen"] = float(known.sum())
        if len(tasks) > 1:
            out.values |= {f"{called}/{name}": value for name, value in measured.values.items()}
            out.undefined |= {f"{called}/{name}": why for name, why in measured.undefined.items()}
    if len(tasks) == 1:
        return measured
    means = {
        name: weighted.nanmean(np.stack(draws_of_tasks, -1))
        for name, draws_of_tasks in by_task.items()
        if draws_of_tasks
    }
    seen = float((~np.isnan(labels)).sum())
    together = with_errors(means)
    out.values = {**dict.fromkeys(by_task, float("nan")), **together.values, "labels_seen": seen, **out.values}
    out.draws = together.draws
    for name in by_task:
        left = len(tasks) - len(by_task[name])
        if left:
            rest = f"the mean is over the other {len(by_task[name])}" if by_task[name] else "there is no mean"
            out.undefined[name] = f"not defined for {left} of {len(tasks)} tasks; {rest}"
    return out


def _classes(absent: Sequence) -> str:
    """'class 3 does' or 'classes 3 and 5 do', to continue with 'not occur'."""
    *first, last = map(str, absent)
    return f"classes {', '.join(first)} and {last} do" if first else f"class {last} does"


def _check_classes(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities are (n, C) and labels (n,), not {probabilities.shape} and {labels.shape}")
    if classes is not None and len(classes) != probabilities.shape[1]:
        raise ValueError(f"{len(classes)} names for {probabilities.shape[1]} classes")
    if len(labels) and (labels.min() < 0 or labels.max() >= probabilities.shape[1]):
        raise ValueError(f"labels from {labels.min()} to {labels.max()} for {probabilities.shape[1]} classes")
    if not np.allclose(probabilities.sum(1), 1, atol=1e-2) or (len(labels) and probabilities.min() < 0):
        raise ValueError("the probabilities of each row must sum to 1: pass probabilities instead of logits")


def _check_tasks(predicted: np.ndarray, labels: np.ndarray, tasks: Sequence[str] | None) -> Sequence[str]:
    """The names of the tasks."""
    if predicted.ndim != 2 or predicted.shape != labels.shape:
        raise ValueError(f"predictions and labels are both (n, K), not {predicted.shape} and {labels.shape}")
    if not np.isfinite(predicted).all():
        raise ValueError(f"row {np.argwhere(~np.isfinite(predicted))[0][0]} of the predictions is NaN or infinite")
    if tasks is not None and len(tasks) != labels.shape[1]:
        raise ValueError(f"{len(tasks)} names for {labels.shape[1]} tasks")
    return [f"task {number}" for number in range(labels.shape[1])] if tasks is None else list(tasks)
