"""Metrics of labelled sequences agree with scikit-learn, with ties, absent classes and missing labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, linregress, spearmanr
from sklearn import metrics as sk

from trimer.metrics import weighted_rows as weighted
from trimer.metrics.label_metrics import OF_SEVERAL, confusion, multi_label, per_class, regression, single_label

FEW = 20  # number of resamples where it does not matter


def classes(rows: int, count: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities correlated with the labels; for ties they are rounded to one decimal."""
    random = np.random.default_rng(seed)
    labels = random.integers(count, size=rows)
    logits = random.normal(size=(rows, count)) + 1.2 * np.eye(count)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if ties:
        probabilities = np.floor(probabilities * 10) / 10
        probabilities[:, -1] += 1 - probabilities.sum(1)
    return probabilities, labels


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_of_several_classes_agree_with_scikit_learn(ties):
    probabilities, labels = classes(300, 5, ties=ties)
    result = single_label(probabilities, labels, bootstrap=FEW)
    predicted_classes, yes = probabilities.argmax(1), np.eye(5)[labels]
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted_classes),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted_classes),
        "macro_f1": sk.f1_score(labels, predicted_classes, average="macro"),
        "macro_precision": sk.precision_score(labels, predicted_classes, average="macro"),
        "macro_recall": sk.recall_score(labels, predicted_classes, average="macro"),
        "mcc": sk.matthews_corrcoef(labels, predicted_classes),
        "auroc": sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        "average_precision": sk.average_precision_score(yes, probabilities, average="macro"),
        "cross_entropy": sk.log_loss(labels, probabilities),
    }
    assert {name: result.values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    if not ties:
        assert result.values["top3_accuracy"] == pytest.approx(sk.top_k_accuracy_score(labels, probabilities, k=3))
    assert result.undefined == {}


def test_binary_metrics_refer_to_the_second_class():
    probabilities, labels = classes(200, 2)
    values = single_label(probabilities, labels, bootstrap=FEW).values
    assert values["auroc"] == pytest.approx(sk.roc_auc_score(labels, probabilities[:, 1]))
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(labels, probabilities[:, 1]))
    assert "top3_accuracy" not in values


def test_metrics_agree_with_a_hand_calculation():
    """Three of four are right: both rows of class 0, one of two rows of class 1."""
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    labels = np.array([0, 0, 1, 1])
    values = single_label(probabilities, labels, bootstrap=0).values
    assert values["accuracy"] == 0.75
    assert values["balanced_accuracy"] == 0.75
    assert values["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert values["mcc"] == pytest.approx(1 / math.sqrt(3))
    assert values["auroc"] == 0.75  # three of the pairs (.7, .1) (.7, .4) (.2, .1) (.2, .4) are in order
    assert values["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert values["cross_entropy"] == pytest.approx(
        -(math.log(0.9) + math.log(0.6) + math.log(0.7) + math.log(0.2)) / 4
    )
    assert not any(name.endswith("std_error") for name in values)


def test_tied_scores_count_half():
    half = np.full((6, 2), 0.5)
    values = single_label(half, np.array([0, 1, 0, 1, 1, 1]), bootstrap=0).values
    assert values["auroc"] == 0.5
    assert values["average_precision"] == pytest.approx(4 / 6)
    assert values["accuracy"] == pytest.approx(2 / 6)  # the first of tied classes is predicted
    assert values["mcc"] == 0.0


def test_an_absent_class_is_excluded_and_reported():
    probabilities, labels = classes(200, 4)
    kept = labels != 2
    result = single_label(probabilities[kept], labels[kept], bootstrap=FEW)
    one_by_one = [sk.roc_auc_score(labels[kept] == c, probabilities[kept, c]) for c in (0, 1, 3)]
    assert result.values["auroc"] == pytest.approx(np.mean(one_by_one))
    assert result.undefined["auroc"] == "class 2 does not occur; the mean is over the other 3"
    assert math.isfinite(result.values["auroc_std_error"])


def test_a_never_predicted_class_has_no_precision_and_lowers_the_mean():
    """A class that is predicted and does not occur lowers it too; one with neither does not count."""
    probabilities, labels = classes(200, 6)
    labels[labels >= 4] = 0
    probabilities[:, 2] = 0  # never predicted
    probabilities[:, 5] = 0  # neither predicted nor present; 4 is predicted and not present
    probabilities /= probabilities.sum(1, keepdims=True)
    predicted_classes = probabilities.argmax(1)
    assert set(predicted_classes) == {0, 1, 3, 4} and set(labels) == {0, 1, 2, 3}
    result = single_label(probabilities, labels, bootstrap=FEW)
    for name, score in (("macro_precision", sk.precision_score), ("macro_recall", sk.recall_score)):
        assert result.values[name] == pytest.approx(score(labels, predicted_classes, average="macro", zero_division=0))
        assert result.values[f"{name}_std_error"] > 0


@pytest.mark.parametrize("count", [2, 5])
def test_ranking_metrics_of_a_single_class_are_undefined(count):
    probabilities, _ = classes(30, count)
    result = single_label(probabilities, np.ones(30, int), bootstrap=FEW)
    for name in ("auroc", "average_precision", "balanced_accuracy", "macro_f1", "mcc"):
        assert math.isnan(result.values[name])
        assert result.undefined[name] == "only class 1 occurs"
        assert f"{name}_std_error" not in result.values
    assert result.values["accuracy"] == pytest.approx((probabilities.argmax(1) == 1).mean())


def test_metrics_without_rows_are_undefined():
    result = single_label(np.zeros((0, 3)), np.zeros(0, int))
    assert math.isnan(result.values["accuracy"])
    assert result.undefined["accuracy"] == "there are no rows"


def test_a_certain_error_has_a_finite_loss():
    values = single_label(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), bootstrap=0).values
    assert values["cross_entropy"] == pytest.approx(sk.log_loss([0, 1], [[1.0, 0.0], [1.0, 0.0]]))


def test_logits_instead_of_probabilities_are_rejected():
    with pytest.raises(ValueError, match="instead of logits"):
        single_label(np.array([[2.0, -1.0]]), np.array([0]))
    with pytest.raises(ValueError, match="instead of logits"):
        multi_label(np.array([[2.0]]), np.array([[1.0]]))
    with pytest.raises(ValueError, match="labels from 0 to 3 for 2 classes"):
        single_label(np.full((2, 2), 0.5), np.array([0, 3]))
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        multi_label(np.array([[0.5]]), np.array([[2.0]]))
    with pytest.raises(ValueError, match="NaN or infinite"):
        regression(np.array([math.nan]), np.array([1.0]))


def test_weighted_metrics_equal_metrics_of_repeated_rows():
    """Every weighted metric equals scikit-learn's on rows repeated as often as they were sampled."""
    probabilities, labels = classes(60, 3, ties=True)
    scores, numbers = probabilities[:, 1], labels + np.random.default_rng(1).integers(3, size=60) / 2
    predicted_classes, yes = probabilities.argmax(1), labels == 1
    weights = weighted.weightings(60, 10, seed=3)
    confusions = weighted.confusions(labels, predicted_classes, 3, weights.astype(float))
    result = weighted.by_score(scores, yes, weights.astype(float))
    ours = {
        "auroc": weighted.auroc(*result), "ap": weighted.average_precision(*result),
        "balanced": weighted.balanced_accuracy(confusions), "f1": weighted.macro_f1(confusions),
        "mcc": weighted.mcc(confusions), "r2": weighted.r2(scores, numbers, weights.astype(float)),
        "spearman": weighted.spearman(scores, numbers, weights.astype(float)),
    }  # fmt: skip
    for draw, counts in enumerate(weights):
        rows = np.repeat(np.arange(60), counts)
        theirs = {
            "auroc": sk.roc_auc_score(yes[rows], scores[rows]),
            "ap": sk.average_precision_score(yes[rows], scores[rows]),
            "balanced": sk.balanced_accuracy_score(labels[rows], predicted_classes[rows]),
            "f1": sk.f1_score(labels[rows], predicted_classes[rows], average="macro"),
            "mcc": sk.matthews_corrcoef(labels[rows], predicted_classes[rows]),
            "r2": sk.r2_score(numbers[rows], scores[rows]),
            "spearman": spearmanr(scores[rows], numbers[rows]).statistic,
        }
        assert {name: values[draw] for name, values in ours.items()} == pytest.approx(theirs, abs=1e-12)


def test_the_standard_error_of_a_proportion_is_binomial():
    probabilities, labels = classes(400, 3)
    values = single_label(probabilities, labels, bootstrap=2000).values
    share = values["accuracy"]
    assert values["accuracy_std_error"] == pytest.approx(math.sqrt(share * (1 - share) / 400), rel=0.1)


def test_the_interval_of_a_proportion_is_binomial():
    probabilities, labels = classes(400, 3)
    values = single_label(probabilities, labels, bootstrap=4000).values
    hits = round(values["accuracy"] * 400)
    low, high = binom.ppf([0.025, 0.975], 400, hits / 400) / 400
    assert [values["accuracy_ci95_low"], values["accuracy_ci95_high"]] == pytest.approx([low, high], abs=0.005)
    assert not any(name.endswith(("_low", "_high")) for name in single_label(probabilities, labels, bootstrap=0).values)
    only = single_label(probabilities, np.ones(400, int), bootstrap=FEW, classes=["x", "y", "z"])
    assert only.undefined["mcc"] == "only class y occurs" and "mcc_ci95_low" not in only.values


def test_rows_of_a_group_are_resampled_together():
    """Four copies of each row add no information: the error by groups is the same, by rows it would halve."""
    probabilities, labels = classes(200, 3)
    often = np.tile(probabilities, (4, 1)), np.tile(labels, 4)
    alone = single_label(probabilities, labels, bootstrap=1000).values["accuracy_std_error"]
    names = [f"molecule {row}" for row in range(200)] * 4
    grouped = single_label(*often, bootstrap=1000, groups=names).values["accuracy_std_error"]
    assert grouped == pytest.approx(alone, rel=0.15)
    assert single_label(*often, bootstrap=1000).values["accuracy_std_error"] == pytest.approx(alone / 2, rel=0.15)


def test_resampling_in_blocks_gives_the_same_result(monkeypatch):
    probabilities, labels = classes(50, 3)
    whole = single_label(probabilities, labels, bootstrap=FEW).values
    monkeypatch.setattr(weighted, "CELLS", 150)
    assert single_label(probabilities, labels, bootstrap=FEW).values == pytest.approx(whole)


def yes_or_no() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = (random.random((150, 3)) < 0.3).astype(float)
    probabilities = np.clip(0.3 * labels + 0.7 * random.random((150, 3)), 0, 1).round(2)
    labels[random.random((150, 3)) < 0.2] = np.nan
    return probabilities, labels


def test_missing_labels_are_ignored():
    probabilities, labels = yes_or_no()
    result = multi_label(probabilities, labels, tasks=["a", "b", "c"], bootstrap=FEW)
    aurocs = []
    for task, name in enumerate("abc"):
        known = ~np.isnan(labels[:, task])
        known_rows = labels[known, task].astype(int), probabilities[known, task]
        aurocs.append(sk.roc_auc_score(*known_rows))
        predicted_classes = (known_rows[1] > 0.5).astype(int)
        expected = {
            "auroc": aurocs[-1],
            "average_precision": sk.average_precision_score(*known_rows),
            "balanced_accuracy": sk.balanced_accuracy_score(known_rows[0], predicted_classes),
            "macro_f1": sk.f1_score(known_rows[0], predicted_classes, average="macro"),
            "mcc": sk.matthews_corrcoef(known_rows[0], predicted_classes),
            "accuracy": sk.accuracy_score(known_rows[0], predicted_classes),
            "cross_entropy": sk.log_loss(*known_rows),
            "labels_seen": known.sum(),
        }
        assert {key: result.values[f"{name}/{key}"] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert result.values["auroc"] == pytest.approx(np.mean(aurocs))
    assert result.values["labels_seen"] == (~np.isnan(labels)).sum()
    changed = np.where(np.isnan(labels), 1 - probabilities, probabilities)
    assert multi_label(changed, labels, tasks=["a", "b", "c"], bootstrap=FEW).values == result.values


def test_a_task_with_a_single_class_is_excluded_from_the_mean_and_reported():
    probabilities, labels = yes_or_no()
    labels[:, 1] = np.where(labels[:, 1] == 1, np.nan, labels[:, 1])
    labels[:, 2] = np.nan
    result = multi_label(probabilities, labels, tasks=["a", "b", "c"], bootstrap=FEW)
    assert result.values["auroc"] == result.values["a/auroc"]
    assert result.values["auroc_std_error"] == result.values["a/auroc_std_error"]
    assert math.isnan(result.values["b/auroc"]) and result.undefined["b/auroc"] == "all labels are 0"
    assert math.isnan(result.values["c/accuracy"]) and result.undefined["c/accuracy"] == "there are no labels"
    assert result.undefined["auroc"] == "not defined for 2 of 3 tasks; the mean is over the other 1"
    assert result.values["accuracy"] == pytest.approx((result.values["a/accuracy"] + result.values["b/accuracy"]) / 2)
    assert result.values["labels_seen"] == (~np.isnan(labels)).sum()


def test_micro_averages_agree_with_scikit_learn():
    probabilities, labels = yes_or_no()
    whole = np.where(np.isnan(labels), 0, labels)
    probabilities[:, 1] *= 0.4  # a label that is never predicted
    predicted_classes = (probabilities > 0.5).astype(int)
    assert not predicted_classes[:, 1].any() and whole[:, 1].any()
    result = multi_label(probabilities, whole, bootstrap=FEW).values
    expected = {
        "micro_precision": sk.precision_score(whole, predicted_classes, average="micro"),
        "micro_recall": sk.recall_score(whole, predicted_classes, average="micro"),
        "exact_match": sk.accuracy_score(whole, predicted_classes),
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert all(result[f"{name}_std_error"] > 0 for name in expected)
    known = ~np.isnan(labels)
    result = multi_label(probabilities, labels, bootstrap=FEW).values
    assert result["micro_precision"] == pytest.approx(sk.precision_score(labels[known], predicted_classes[known]))
    assert result["micro_recall"] == pytest.approx(sk.recall_score(labels[known], predicted_classes[known]))


def test_exact_match_uses_the_known_labels_of_a_row():
    labels = np.array([[1, np.nan], [0, 1], [np.nan, np.nan], [1, 1]])
    result = multi_label(np.array([[0.9, 0.9], [0.1, 0.2], [0.9, 0.9], [0.5, 0.9]]), labels, bootstrap=0).values
    assert result["exact_match"] == pytest.approx(1 / 3)  # 0.5 is negative
    assert result["micro_precision"] == 1.0 and result["micro_recall"] == pytest.approx(2 / 4)


def test_no_positive_predictions_or_labels_give_a_reason():
    result = multi_label(np.full((4, 2), 0.1), np.zeros((4, 2)), bootstrap=FEW)
    assert result.undefined["micro_precision"] == "no label is predicted"
    assert math.isnan(result.values["micro_precision"])
    assert result.undefined["micro_recall"] == "no label is true" and "micro_recall_std_error" not in result.values
    assert result.values["exact_match"] == 1.0
    none = multi_label(np.full((4, 2), 0.1), np.full((4, 2), np.nan), bootstrap=FEW)
    assert none.undefined["exact_match"] == "there are no labels"


def test_a_single_task_has_no_mean():
    probabilities, labels = yes_or_no()
    result = multi_label(probabilities[:, :1], labels[:, :1], bootstrap=FEW)
    assert result.values["auroc"] == multi_label(probabilities, labels, bootstrap=FEW).values["task 0/auroc"]
    assert not any("/" in name for name in result.values)


def test_regression_metrics_agree_with_scikit_learn_and_scipy():
    random = np.random.default_rng(0)
    labels = random.normal(5, 2, size=(80, 2))
    predicted = (labels + random.normal(size=(80, 2))).round(1)
    labels[random.random((80, 2)) < 0.25] = np.nan
    result = regression(predicted, labels, tasks=["logS", "logD"], bootstrap=FEW)
    for task, name in enumerate(("logS", "logD")):
        known = ~np.isnan(labels[:, task])
        known_rows = labels[known, task], predicted[known, task]
        expected = {
            "rmse": sk.root_mean_squared_error(*known_rows),
            "mae": sk.mean_absolute_error(*known_rows),
            "r2": sk.r2_score(*known_rows),
            "spearman": spearmanr(*known_rows).statistic,
            "p95_error": np.percentile(np.abs(known_rows[0] - known_rows[1]), 95),
            **dict(zip(("slope", "intercept", "pearson"), linregress(*known_rows[::-1])[:3], strict=True)),
            "r_squared": linregress(*known_rows).rvalue ** 2,
        }
        assert {key: result.values[f"{name}/{key}"] for key in expected} == pytest.approx(expected)
    assert result.values["rmse"] == pytest.approx((result.values["logS/rmse"] + result.values["logD/rmse"]) / 2)
    flat = regression(predicted[:, 0], labels[:, 0], bootstrap=FEW)
    assert flat.values["r2"] == result.values["logS/r2"]


def test_regression_metrics_of_constant_or_few_values_are_undefined():
    one = regression(np.array([1.0, 2.0]), np.array([math.nan, 4.0]), bootstrap=FEW)
    assert one.values["rmse"] == 2.0 and math.isnan(one.values["r2"])
    assert one.undefined == dict.fromkeys(OF_SEVERAL, "there is one label only")
    same = regression(np.array([1.0, 2.0]), np.array([0.1, 0.1]), bootstrap=FEW)
    assert same.undefined == dict.fromkeys(("r2", "spearman", "pearson", "r_squared"), "all labels are the same")
    mean = regression(np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0]), bootstrap=FEW)
    assert mean.values["r2"] == 0 and math.isnan(mean.values["spearman"])
    assert mean.undefined == dict.fromkeys(OF_SEVERAL[1:], "all predictions are the same")
    none = regression(np.array([2.0]), np.array([math.nan]))
    assert none.undefined["rmse"] == "there are no labels"


def test_every_undefined_metric_has_a_reason():
    probabilities, labels = yes_or_no()
    labels[:, 0] = 1
    for result in (
        multi_label(probabilities, labels, bootstrap=FEW),
        single_label(np.full((3, 3), 1 / 3), np.zeros(3, int), bootstrap=FEW),
        regression(np.zeros((3, 2)), np.array([[1, np.nan], [2, np.nan], [3, 1.0]]), bootstrap=FEW),
    ):
        unknown = {name for name, value in result.values.items() if math.isnan(value)}
        assert unknown and unknown <= set(result.undefined)


def test_class_table_and_confusion_matrix_agree_with_a_hand_calculation():
    probabilities = np.eye(4)[[0, 0, 1, 0, 1]]
    labels = np.array([0, 0, 1, 1, 2])
    rows = {row["class"]: row for row in per_class(probabilities, labels, ["a", "b", "c", "d"])}
    assert rows["a"] == {
        "class": "a", "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": 0.8, "support": 2, "predicted": 3,
    }  # fmt: skip
    assert math.isnan(rows["c"]["precision"]) and rows["c"]["recall"] == 0 and rows["c"]["f1"] == 0
    assert math.isnan(rows["d"]["recall"]) and math.isnan(rows["d"]["f1"])
    expected = [[2, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert confusion(probabilities, labels).tolist() == expected


# ---------------------------------------------------------------- intervals of rare classes


def test_a_constant_classifier_has_a_balanced_accuracy_of_one_half_without_interval():
    """Resamples without the rare class would give 100 % each, a spread that the classifier does not have."""
    labels = np.array([1] * 2 + [0] * 18)
    values = single_label(np.tile([0.9, 0.1], (20, 1)), labels, bootstrap=500).values
    assert values["balanced_accuracy"] == 0.5
    assert values["balanced_accuracy_std_error"] == 0 and values["balanced_accuracy_ci95_high"] == 0.5


def test_a_class_with_one_row_has_no_interval_and_the_reason_names_it():
    measured = single_label(
        np.tile([0.9, 0.1], (20, 1)), np.array([1] + [0] * 19), bootstrap=100, classes=["inactive", "active"]
    )
    assert measured.values["balanced_accuracy"] == 0.5 and "balanced_accuracy_ci95_low" not in measured.values
    assert measured.undefined["balanced_accuracy"] == "no interval: there is only one row of active"
    assert "accuracy_ci95_low" in measured.values


def test_one_rare_class_among_many_keeps_the_interval():
    labels = np.array([0] + [1 + n % 19 for n in range(190)])
    random = np.random.default_rng(0)
    values = single_label(random.dirichlet(np.ones(20), 191), labels, bootstrap=100).values
    assert values["macro_f1_std_error"] > 0


def test_rows_are_resampled_within_their_classes():
    labels = np.array([0] * 30 + [1] * 3)
    weights = weighted.weightings(33, 200, seed=1, strata=labels)
    assert (weights[:, :30].sum(1) == 30).all() and (weights[:, 30:].sum(1) == 3).all()
    assert (weights[0] == 1).all() and len(np.unique(weights[1:], axis=0)) > 190
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 0], [0, 0], [0, np.nan], [np.nan, np.nan]])
    assert weighted.rarest_label(labels).tolist() == [2, 3, 0, 0, 0, 0, -1]


def test_no_resample_loses_the_rare_positives_of_a_label():
    random = np.random.default_rng(0)
    labels = np.stack([np.arange(60) < 2, np.arange(60) % 2 == 0], 1).astype(float)
    values = multi_label(random.random((60, 2)), labels, ["rare", "even"], bootstrap=300).values
    weights = weighted.weightings(60, 300, strata=weighted.rarest_label(labels))
    assert (weights @ labels > 0).all()
    assert values["rare/auroc_std_error"] > 0 and values["rare/auroc_ci95_high"] <= 1


def test_resamples_without_a_class_are_discarded_and_too_many_are_reported():
    labels = np.array([1] * 5 + [0] * 45)
    groups = np.repeat(np.arange(10), 5)  # all rows of class 1 are in one group: a third of the resamples have none
    measured = single_label(np.tile([0.9, 0.1], (50, 1)), labels, bootstrap=500, groups=groups)
    assert "balanced_accuracy_std_error" not in measured.values
    assert measured.undefined["balanced_accuracy"].startswith("no interval: 3")
    groups = np.arange(50) % 25
    values = single_label(np.tile([0.9, 0.1], (50, 1)), labels, bootstrap=500, groups=groups).values
    assert values["balanced_accuracy_std_error"] == 0


def test_a_new_metric_has_a_mean_over_the_tasks(monkeypatch):
    """A value of `measure` is enough: it need not be named a second time."""
    line = weighted.line

    def with_largest(numbers, true, weights):
        return {**line(numbers, true, weights), "largest": np.full(len(weights), np.abs(numbers - true).max())}

    monkeypatch.setattr(weighted, "line", with_largest)
    predicted, labels = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]), np.array([[1.5, 2], [3, 5], [5, 7]])
    labels_of_one = np.column_stack([labels[:, 0], np.full(3, np.nan)])
    result = regression(predicted, labels, bootstrap=0)
    assert result.values["largest"] == (0.5 + 2) / 2
    assert regression(predicted, labels_of_one, bootstrap=0).values["largest"] == 0.5
