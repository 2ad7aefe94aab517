"""Probabilities after class weights and focal loss, and the thresholds of the predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import f1_score, matthews_corrcoef

from trimer.checkpoint import copy_weights
from trimer.evaluation.calibration import chosen_thresholds, fitted, mean_probabilities
from trimer.metrics.decisions import choose_for_classes, choose_for_labels, decide_classes, decide_labels
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.tasks.classification import Classification, balanced_weights, weighted_prior


def network(outputs: int, target: str) -> Labelled:
    return Labelled(Esm2(33, 32, layers=1, heads=2), outputs, target)


def weighted(net: Labelled, labels: torch.Tensor, weights: torch.Tensor, focal: float = 0.0) -> Labelled:
    net.weight.copy_(weights)
    net.focal.fill_(focal)
    net.prior.copy_(weighted_prior(labels, weights))
    return net


def of_classes(truth: np.ndarray, weights: np.ndarray, focal: float) -> np.ndarray:
    """The logits that minimize the expected weighted focal loss for these class probabilities."""

    def loss(raw: np.ndarray) -> float:
        p = np.exp(raw - raw.max())
        p = p / p.sum()
        return float((truth * weights * (1 - p) ** focal * -np.log(p)).sum())

    return minimize(loss, np.zeros(len(truth)), tol=1e-12).x


@pytest.mark.parametrize("focal", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.4, 2.0, 9.0]])
def test_logits_at_the_loss_minimum_give_the_true_probabilities(focal, weights):
    truth = np.array([0.82, 0.13, 0.05])
    raw = of_classes(truth, np.array(weights), focal)
    net = weighted(network(3, "single"), torch.tensor([0] * 82 + [1] * 13 + [2] * 5), torch.tensor(weights), focal)
    assert net.predictions(torch.tensor(raw[None])).numpy()[0] == pytest.approx(truth, abs=2e-4)


@pytest.mark.parametrize("focal", [0.0, 2.0])
def test_a_binary_logit_at_the_loss_minimum_gives_the_true_probability(focal):
    truth, weight = 0.05, 19.0
    raw = of_classes(np.array([1 - truth, truth]), np.array([1.0, weight]), focal)
    labels = torch.tensor([[1.0]] * 5 + [[0.0]] * 95)
    net = weighted(network(1, "multi"), labels, torch.tensor([weight]), focal)
    probability = net.predictions(torch.tensor([[raw[1] - raw[0]]], dtype=torch.float32))
    assert float(probability) == pytest.approx(truth, abs=2e-4)


def test_a_temperature_after_the_correction_keeps_the_class_frequencies():
    labels = torch.tensor([0] * 95 + [1] * 5)
    weights = balanced_weights(labels, 2)
    net = weighted(network(2, "single"), labels, weights)
    net.temperature.fill_(1e4)
    assert net.predictions(torch.randn(50, 2))[:, 1].numpy() == pytest.approx(0.05, abs=0.01)


def test_mean_probability_is_near_the_class_frequency_after_balanced_weights():
    torch.manual_seed(0)
    x = torch.randn(4000, 1)
    labels = (torch.rand(4000) < torch.sigmoid(2 * x[:, 0] - 4.2)).long()
    assert 0.03 < float(labels.float().mean()) < 0.08
    weights = balanced_weights(labels[:2000], 2)
    linear = torch.nn.Linear(1, 2)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=50)

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(linear(x[:2000]), labels[:2000], weights)
        value.backward()
        return value

    optimizer.step(loss)
    raw = linear(x).detach()
    assert float(torch.softmax(raw, 1)[:, 1].mean()) > 0.2, "the weighted probabilities are far too high"
    net = weighted(network(2, "single"), labels[:2000], weights)
    net.criterion = "mcc"
    for name, value in fitted(net, raw[2000:3000], labels[2000:3000].numpy()).items():
        getattr(net, name).copy_(value)
    predictions = net.predictions(raw[3000:]).numpy()
    row = mean_probabilities("single", predictions, labels[3000:].numpy(), ["no", "yes"], net.threshold.numpy())[1]
    assert row["mean probability"] == pytest.approx(row["share"], abs=0.015)
    assert 0.05 < row["threshold"] < 0.5 and float(net.threshold.sum()) == pytest.approx(1)
    decisions = decide_classes(predictions, net.threshold.numpy())
    assert (decisions == 1).sum() > (predictions.argmax(1) == 1).sum(), "a rare class is found by its threshold"


def test_initial_thresholds_reproduce_the_decisions_of_the_loss():
    class Data:
        target, classes = "single", ["a", "b"]
        labels = torch.tensor([0] * 90 + [1] * 10)

        def training_labels(self):
            return self.labels

    task = Classification(network(2, "single"), None, class_weights="balanced")
    task.configure_loss(Data())
    raw = torch.randn(200, 2)
    decisions = decide_classes(task.net.predictions(raw).numpy(), task.net.threshold.numpy())
    assert decisions.tolist() == raw.argmax(1).tolist()
    Data.target, Data.classes = "multi", ["a"]
    Data.labels = torch.tensor([[1.0]] * 10 + [[0.0]] * 90)
    task = Classification(network(1, "multi"), None, class_weights="balanced")
    task.configure_loss(Data())
    decisions = decide_labels(task.net.predictions(raw[:, :1]).numpy(), task.net.threshold.numpy())
    assert (decisions == (raw[:, :1] > 0).numpy()).all()


@pytest.mark.parametrize("by", ["mcc", "f1"])
def test_the_chosen_threshold_is_optimal_on_its_rows(by):
    random = np.random.default_rng(0)
    labels = (random.random((150, 2)) < [0.1, 0.4]).astype(float)
    probabilities = np.clip(0.25 * labels + 0.3 * random.random((150, 2)), 0, 1)
    labels[::7, 1] = np.nan
    chosen = choose_for_labels(probabilities, labels, by, np.array([0.5, 0.5]))
    score = {"mcc": matthews_corrcoef, "f1": f1_score}[by]
    for k in range(2):
        known = ~np.isnan(labels[:, k])
        best = max(score(labels[known, k], probabilities[known, k] > t) for t in np.linspace(0, 1, 400))
        assert score(labels[known, k], probabilities[known, k] > chosen[k]) >= best - 1e-9


def test_a_label_with_too_few_positives_keeps_its_threshold():
    labels = np.array([[1.0], [1.0], *[[0.0]] * 20])
    assert choose_for_labels(np.linspace(0.9, 0.1, 22)[:, None], labels, "mcc", np.array([0.3])).tolist() == [0.3]
    kept = choose_for_classes(np.full((5, 2), 0.5), np.array([0, 0, 0, 1, 1]), "f1", np.array([0.7, 0.3]))
    assert kept.tolist() == [0.7, 0.3]


def test_thresholds_of_many_classes_find_a_rare_one():
    random = np.random.default_rng(1)
    labels = random.choice(3, 600, p=[0.6, 0.34, 0.06])
    raw = 1.2 * np.eye(3)[labels] + random.normal(size=(600, 3)) + np.log([0.6, 0.34, 0.06])
    probabilities = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    chosen = choose_for_classes(probabilities, labels, "f1", np.full(3, 1 / 3))
    plain, better = (f1_score(labels, decide_classes(probabilities, t), average="macro") for t in (None, chosen))
    assert better > plain and chosen[2] < chosen[0] and chosen.sum() == pytest.approx(1)


def test_baselines_get_thresholds_only_if_the_loss_is_weighted():
    net = network(2, "single")
    predictions, labels = np.array([[0.8, 0.2]] * 6 + [[0.7, 0.3]] * 4), np.array([0] * 6 + [1] * 4)
    net.criterion = "mcc"
    assert chosen_thresholds(net, predictions, labels) is None, "the loss was not weighted"
    net.weight.copy_(torch.tensor([0.6, 2.0]))
    assert decide_classes(predictions, chosen_thresholds(net, predictions, labels)).tolist() == labels.tolist()


@pytest.mark.parametrize(("outputs", "target"), [(2, "single"), (3, "multi"), (1, "regression")])
def test_an_older_state_with_a_single_temperature_is_loaded(outputs, target, tmp_path):
    net = network(outputs, target)
    new = ("weight", "focal", "prior", "threshold")
    state = {name: value for name, value in net.state_dict().items() if name not in new}
    state["temperature"] = torch.tensor(2.5)
    copy_weights(net, state, tmp_path)
    assert (net.temperature == 2.5).all() and (net.weight == 1).all() and (net.prior == 0).all()
    net.load_state_dict(state)
    raw = torch.randn(4, outputs)
    if target == "single":
        assert torch.allclose(net.predictions(raw), torch.softmax(raw / 2.5, -1))
