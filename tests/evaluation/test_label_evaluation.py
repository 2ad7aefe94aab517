"""A label model compared with its baselines on the same rows, which neither has trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.evaluation.label_evaluation import calibration, evaluate_labels
from trimer.evaluation.label_outputs import raw_outputs
from trimer.metrics.temperature import fit_temperature, fit_temperatures
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.targets import target_of
from trimer.tokenizers.protein import ProteinTokenizer

TARGETS = {"single": "kind", "multi": ["one", "two"], "regression": "number", "residue": "states"}


def table(path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["sequence,kind,one,two,number,states,id"]
    for number in range(90):
        text = "".join(rng.choice(list("LAGVSE"), rng.integers(3, 30)))
        states = "".join("HE."[rng.integers(3)] for _ in text)
        lines.append(
            f"{text},{'abc'[number % 3]},{number % 2},{'' if number % 4 else 1},{len(text)},{states},p{number}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = table(tmp_path_factory.mktemp("data") / "my.csv")

    def of(target: str, tokens: int = 300) -> LabelledSequences:
        found = LabelledSequences(
            LabelledFiles(str(path), "sequence", TARGETS[target], "id"), ProteinTokenizer(), "proteins", target,
            {"keys": ["sequence"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
            cache=str(path.parent / "cache"), tokens_per_batch=tokens, missing=["."],
        )  # fmt: skip
        found.setup()
        return found

    return of


def network(data: LabelledSequences) -> Labelled:
    torch.manual_seed(0)
    pooling = "residue" if data.target == "residue" else "mean"
    net = Labelled(Esm2(33, 32, layers=1, heads=2), len(data.classes), data.target, {"pooling": pooling}).eval()
    net.head.output.weight.data *= 20
    return net


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_are_in_row_order_for_any_batching(data, target):
    small, large = data(target, 100), data(target, 100_000)
    net = network(small)
    for part in ("val", "test"):
        raw, labels, owners = raw_outputs(net, small, part)
        again, same, owned = raw_outputs(net, large, part)
        assert torch.allclose(raw, again, atol=1e-5) and (owners == owned).all()
        assert torch.equal(labels.nan_to_num(-1.0), same.nan_to_num(-1.0))
        rows = small.split.rows(part)
        if target == "residue":
            texts = small.texts(rows)
            assert owners.tolist() == [row for row, text in zip(rows, texts, strict=True) for _ in text]
        else:
            assert owners.tolist() == rows.tolist()
            assert np.array_equal(labels.numpy(), small.labels[rows], equal_nan=target == "multi")


@pytest.mark.parametrize("target", TARGETS)
def test_the_table_compares_the_model_with_its_baselines(data, target, tmp_path):
    found = data(target)
    net = network(found)
    evaluation = evaluate_labels(net, found, "test", name="mine", bootstrap=20)
    rows = evaluation.table.ordered()
    assert [row["kind"] for row in rows] == ["baseline", "baseline", "method"]
    main = target_of(target).metrics[0]
    for row in rows[:2]:
        difference = evaluation.metrics[main] - row["values"][main]
        if np.isfinite(difference):
            assert row["values"][f"{main}_difference"] == pytest.approx(difference, abs=1e-9)
            assert 0 < row["values"][f"{main}_difference_p"] <= 1
    assert "Model minus this (p)" in evaluation.table.to_markdown()
    assert f"{main}_difference" not in evaluation.metrics, "the model is not compared with itself"
    raw, labels, _ = raw_outputs(net, found, "test")
    predictions = net.predictions(raw).detach()
    if target == "regression":
        expected = {
            "rmse": float((predictions - labels).square().mean().sqrt()),
            "mae": float((predictions - labels).abs().mean()),
        }
    elif target == "multi":
        said = (predictions > 0.5) == (labels == 1)
        expected = {"one/accuracy": float(said[:, 0].float().mean())}
        known = ~labels[:, 1].isnan()
        assert evaluation.metrics["two/labels_seen"] == known.sum() and known.sum() < len(known)
        assert "two" in " ".join(evaluation.undefined["mine"]) and "all labels are 1" in str(
            evaluation.undefined["mine"]
        )
    else:
        keep = labels != -100
        expected = {"accuracy": float((predictions.argmax(-1) == labels)[keep].float().mean())}
        assert len(evaluation.labels) == keep.sum() and (keep.sum() < len(keep)) == (target == "residue")
    for name, value in expected.items():
        assert evaluation.metrics[name] == pytest.approx(value, rel=1e-5)
        assert evaluation.split_metrics("test")[f"test/{name}"] == evaluation.metrics[name]
    evaluation.save(tmp_path)
    assert (tmp_path / "table.md").is_file()


@pytest.mark.parametrize("target", TARGETS)
def test_baselines_are_fitted_on_the_train_split_only(data, target):
    """Their predictions stay when every label of the other parts is another."""
    found = data(target)
    net = network(found)

    def majority() -> float:
        rows = evaluate_labels(net, found, "test", bootstrap=0).table.ordered()
        return rows[0]["values"]

    before = majority()
    train = found.training_labels()
    if target == "regression":
        expected = float(train.mean())
        test = found.labels[found.split.rows("test")]
        assert before["mae"] == pytest.approx(np.abs(test - expected).mean(), rel=1e-4)
    elif target == "multi":
        assert before["auroc"] == 0.5
    else:
        counts = np.bincount(train[train >= 0])
        labels = raw_outputs(net, found, "test")[1].numpy()
        labels = labels[labels >= 0]
        assert before["accuracy"] == pytest.approx((labels == counts.argmax()).mean())
        assert before["cross_entropy"] == pytest.approx(-np.log(counts / counts.sum())[labels].mean(), rel=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_the_temperature_is_fitted_on_the_validation_split(data, target):
    found = data(target)
    net = network(found)
    raw, labels, _ = raw_outputs(net, found, "val")
    keep = labels != -100 if target == "residue" else slice(None)
    fit = fit_temperatures if target == "multi" else fit_temperature
    expected = 1.0 if target == "regression" else fit(raw[keep].numpy(), labels[keep].numpy())
    assert calibration(net, found)["temperature"].numpy() == pytest.approx(expected)
    assert np.all(expected == 1.0) == (target == "regression")
    net.temperature.fill_(7.0)
    again = calibration(net, found)["temperature"].numpy()
    assert again == pytest.approx(expected), "raw predictions are not divided before"


def test_a_temperature_keeps_the_order_of_the_classes():
    net = Labelled(Esm2(33, 32, layers=1, heads=2), 3, "single")
    raw = torch.randn(20, 3)
    cold = net.predictions(raw)
    net.temperature.fill_(3.0)
    warm = net.predictions(raw)
    assert torch.equal(cold.argsort(-1), warm.argsort(-1)) and (warm.max(-1).values < cold.max(-1).values).all()
    assert torch.allclose(warm, torch.softmax(raw / 3, -1))
    many = Labelled(Esm2(33, 32, layers=1, heads=2), 3, "multi")
    many.temperature.copy_(torch.tensor([2.0, 1.0, 4.0]))
    assert torch.allclose(many.predictions(raw), torch.sigmoid(raw / torch.tensor([2.0, 1.0, 4.0])))
