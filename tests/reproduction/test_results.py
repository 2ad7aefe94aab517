"""How the results of two runs are compared: metrics with a tolerance, metrics.csv, and weights by their hash."""

from __future__ import annotations

import json
import math

import pytest
import torch

from trimer.reproduction.results import STATISTIC, Metric, digest, final_metrics, first_difference
from trimer.run import RunFolder


def test_the_difference_of_a_metric_is_relative():
    assert Metric("loss", 2.0, 2.002).difference == pytest.approx(0.001, rel=1e-2)
    assert Metric("loss", 0.0, 1e-12).difference == 0 and not Metric("loss", 0.0, 1e-12).equal
    assert Metric("loss", math.nan, math.nan).equal
    assert Metric("loss", 1.0, math.nan).difference == Metric("loss", 1.0, None).difference == math.inf
    assert Metric("loss", None, None).difference == 0


def result(folder, metrics: dict, rows: list[dict] = ()) -> RunFolder:
    (folder / "test").mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"metrics": metrics}))
    (folder / "test" / "table.json").write_text(json.dumps({"rows": list(rows)}))
    return RunFolder(folder)


def test_final_metrics_are_those_of_the_result_and_of_the_table(tmp_path):
    row = {"method": "demo, seed 0", "kind": "method", "values": {"rmse": 1.0, "rmse_p": 0.5}}
    baseline = {"method": "mean", "kind": "baseline", "values": {"rmse": 2.0, "seconds": 3.0}}
    left = result(tmp_path / "a", {"val/loss": 1.0, "tokens_per_second": 5.0, "mfu": 0.1, "r2": None}, [row, baseline])
    right = result(tmp_path / "b", {"val/loss": 1.5, "seconds": 2.0}, [{**row, "method": "demo, seed 1"}])
    found = {metric.name: metric for metric in final_metrics(left, right)}
    assert set(found) == {"val/loss", "r2", "table: model: rmse", "table: model: rmse_p", "table: mean: rmse"}
    assert found["table: model: rmse"].equal and found["table: mean: rmse"].right is None
    assert [name for name in found if STATISTIC.match(name)] == ["table: model: rmse_p"]


def test_the_first_difference_of_metrics_csv_is_named(tmp_path):
    texts = {"a": "0,0,1.0,5\n0,1,0.5,6\n", "b": "0,0,1.0,7\n0,1,0.6,8\n", "c": "0,0,1.0,9\n"}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(f"epoch,step,train/loss,tokens_per_second\n{text}")
    a, b, c = (tmp_path / name for name in texts)
    assert first_difference(a, a) is None
    assert first_difference(a, b) == "from row 2, step 1: train/loss (0.5, 0.6)"
    assert first_difference(a, c) == "2 and 1 rows"
    assert first_difference(tmp_path, tmp_path) is None


def test_the_hash_of_weights_depends_on_names_types_shapes_and_values():
    weights = {"b": torch.arange(6.0), "a": torch.ones(2, dtype=torch.bfloat16), "c": torch.tensor(3)}
    same = digest({name: weights[name].clone() for name in sorted(weights)})
    assert digest(weights) == same and same.tensors == 3
    for other in (
        {**weights, "b": weights["b"].reshape(2, 3)},
        {**weights, "b": weights["b"].double()},
        {**weights, "b": weights["b"] + 1e-6},
        {"d" if name == "b" else name: value for name, value in weights.items()},
    ):
        assert digest(other).sha256 != same.sha256
