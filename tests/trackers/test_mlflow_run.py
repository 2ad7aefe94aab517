"""A run in MLflow's database: metrics, parameters, notes, failure, resumption; read back through MLflow."""

from __future__ import annotations

import json

import pytest

from trimer.errors import ConfigError, InputError
from trimer.loggers import open_loggers
from trimer.trackers import mlflow_run
from trimer.trackers.mlflow_run import RUN_ID, MlflowRun


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_run, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'trimer\[mlflow\]'"):
        MlflowRun(str(tmp_path), "sqlite:///x.db", "trimer", "demo", [])


def test_a_run_is_stored_failed_and_resumed_in_the_database(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'trimer[mlflow]'")
    pytest.importorskip("sqlalchemy", reason="mlflow without a database: pip install 'trimer[mlflow]'")
    folder = tmp_path / "runs" / "demo" / "1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"argv": ["trimer", "train"], "git": {"sha": "abc"}}))
    uri = f"sqlite:///{tmp_path}/db/mlflow.db"
    with pytest.raises(InputError), open_loggers([MlflowRun(str(folder), uri, "trimer", "demo", ["mine"])], {}) as on:
        on[0].log_metrics({"val/tanimoto@1": 0.5, "epoch": 3, "lr": 1e-3}, 7)
        raise InputError("the loss is nan")
    client, run_id = mlflow.MlflowClient(uri), (folder / RUN_ID).read_text().strip()
    run = client.get_run(run_id)
    assert run.info.status == "FAILED" and run.data.tags["failure"] == "the loss is nan"
    assert run.data.metrics == {"val/tanimoto_at_1": 0.5, "optimizer/lr": 1e-3}
    assert run.data.tags["group"] == "demo" and run.data.tags["mine"] == "true"
    assert run.data.tags["mlflow.note.content"] == "trimer train\ngit abc"
    with open_loggers([MlflowRun(str(folder), uri, "trimer", "demo", [])], {"seed": 2}) as on:
        on[0].log_metrics({"lr": 2e-3}, 8)
    assert [point.step for point in client.get_metric_history(run_id, "optimizer/lr")] == [7, 8]
    assert client.get_run(run_id).info.status == "FINISHED"
