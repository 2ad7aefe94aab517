"""Runs in MLflow's database and on a server of MLflow: metrics, parameters, notes, artifacts, failure, resumption.

The tests with MLflow itself run in a separate environment: `make test-trackers`.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_trainings import TINY
from waiting import until

from trimer.cli.main import main
from trimer.errors import ConfigError, InputError
from trimer.loggers import open_loggers
from trimer.trackers import mlflow_run, publishing
from trimer.trackers.mlflow_run import RUN_ID, MlflowRun

pytestmark = pytest.mark.usefixtures("rough_figures")


@pytest.fixture
def mlflow():
    return pytest.importorskip("mlflow", reason="needs mlflow: make test-trackers")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_run, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'trimer\[mlflow\]'"):
        MlflowRun(str(tmp_path), "sqlite:///x.db", "trimer", "demo", [], artifacts=True)


@pytest.mark.parametrize("uri", ["runs/mlflow", "file:runs/mlflow", "file:///data/mlflow", "/data/mlflow"])
def test_a_folder_is_rejected_in_a_sentence(uri, tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_run, "find_spec", lambda name: True)
    sentence = (
        f"tracking_uri={uri} is a folder, and MLflow no longer stores runs in folders: use a database such as sql"
    )
    with pytest.raises(ConfigError, match=sentence):
        MlflowRun(str(tmp_path), uri, "trimer", "demo", [], artifacts=True)
    for right in ("sqlite:///runs/mlflow.db", "https://example.org", "postgresql://a@b/c", "databricks"):
        mlflow_run.check_uri(right)


def test_a_run_is_stored_failed_and_resumed_in_the_database(tmp_path, mlflow):
    folder = tmp_path / "runs" / "demo" / "1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"argv": ["trimer", "train"], "git": {"sha": "abc"}}))
    (folder / "split.json").write_text("{}")
    uri = f"sqlite:///{tmp_path}/db/mlflow.db"
    first = MlflowRun(str(folder), uri, "trimer", "demo", ["mine"], artifacts=True)
    with pytest.raises(InputError), open_loggers([first], {}) as on:
        on[0].log_metrics({"val/tanimoto@1": 0.5, "epoch": 3, "lr": 1e-3}, 7)
        publishing.log_data(SimpleNamespace(loggers=on, is_global_zero=True), folder)
        raise InputError("the loss is nan")
    client, run_id = mlflow.MlflowClient(uri), (folder / RUN_ID).read_text().strip()
    run = client.get_run(run_id)
    assert run.info.status == "FAILED" and run.data.tags["failure"] == "the loss is nan"
    assert run.data.metrics == {"val/tanimoto_at_1": 0.5, "optimizer/lr": 1e-3}
    assert run.data.tags["group"] == "demo" and run.data.tags["mine"] == "true"
    assert run.data.tags["mlflow.note.content"] == "trimer train\ngit abc"
    assert [file.path for file in client.list_artifacts(run_id)] == ["split.json"]
    with open_loggers([MlflowRun(str(folder), uri, "trimer", "demo", [], artifacts=False)], {"seed": 2}) as on:
        assert client.get_run(run_id).info.status == "RUNNING"
        on[0].log_metrics({"lr": 2e-3}, 8)
    assert [point.step for point in client.get_metric_history(run_id, "optimizer/lr")] == [7, 8]
    assert client.get_run(run_id).info.status == "FINISHED"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """The address of a server of MLflow with a database on SQLite."""
    pytest.importorskip("mlflow", reason="needs mlflow: make test-trackers")
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # no further processes for jobs
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "mlflow", "server", *words]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        until(lambda: answers(port) or process.poll() is not None, 300)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    assert not answers(port), "the server is stopped with its workers"


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run_over_http(server: str, run_id: str, call: str = "runs/get", **query: str) -> dict:
    import requests

    answer = requests.get(f"{server}/api/2.0/mlflow/{call}", params={"run_id": run_id, **query}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def curve(server: str, run_id: str, key: str) -> dict[int, float]:
    """step -> value of a metric."""
    points = run_over_http(server, run_id, "metrics/get-history", metric_key=key)["metrics"]
    assert len({int(point["step"]) for point in points}) == len(points), "each step once"
    return {int(point["step"]): point["value"] for point in points}


def test_a_training_is_on_the_server_and_a_resumed_one_continues_there(server, tmp_path, monkeypatch):
    import requests

    folder = tmp_path / "runs" / "demo" / "first"
    words = [
        "experiment=demo",
        *TINY,
        "callbacks=default",
        "trainer.val_check_interval=2",
        "trainer.log_every_n_steps=1",
    ]
    words += ["logger=mlflow", f"logger.mlflow.tracking_uri={server}", "tags=[mine]", "seed=3"]
    words += ["task.generator.num_samples=2", "trainer.limit_val_batches=1"]
    monkeypatch.setattr(sys, "argv", ["trimer", "train", *words, "trainer.max_steps=4", f"hydra.run.dir={folder}"])
    assert main() == 0
    run_id = (folder / RUN_ID).read_text().strip()
    run = run_over_http(server, run_id)["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert run["info"]["status"] == "FINISHED" and run["info"]["run_name"].startswith("demo ")
    assert "seed=3" in run["info"]["run_name"] and tags["mine"] == "true" and tags["group"] == "demo"
    assert "experiment=demo" in tags["mlflow.note.content"]
    parameters = {parameter["key"]: parameter["value"] for parameter in run["data"]["params"]}
    assert parameters["seed"] == "3" and parameters["model/d_model"] == "16"
    validations = curve(server, run_id, "val/loss")
    with (folder / "metrics.csv").open() as stream:
        rows = {int(row["step"]): float(row["val/loss"]) for row in csv.DictReader(stream) if row["val/loss"]}
    assert validations == pytest.approx(rows) and len(rows) == 2
    top = {file["path"] for file in run_over_http(server, run_id, "artifacts/list")["files"]}
    assert {"config.yaml", "split.json", "drops.json", "test"} <= top
    inside = {file["path"] for file in run_over_http(server, run_id, "artifacts/list", path="test")["files"]}
    assert {"test/table.csv", "test/page.html", "test/predictions.parquet"} <= inside
    sent = requests.get(f"{server}/get-artifact", params={"run_id": run_id, "path": "test/table.csv"}, timeout=30)
    assert sent.text == (folder / "test" / "table.csv").read_text()

    assert main(["train", f"resume={folder}", "trainer.max_steps=8"]) == 0
    assert (folder / RUN_ID).read_text().strip() == run_id
    again = curve(server, run_id, "val/loss")
    assert len(again) == 4 and {step: again[step] for step in validations} == validations
    experiment = {"experiment_ids": [run["info"]["experiment_id"]]}
    found = requests.post(f"{server}/api/2.0/mlflow/runs/search", json=experiment, timeout=30).json()["runs"]
    assert [one["info"]["run_id"] for one in found] == [run_id], "no second run"
    assert found[0]["info"]["status"] == "FINISHED"


def test_a_server_that_does_not_respond_is_an_error_before_the_training(tmp_path, mlflow, capsys):
    words = ["experiment=demo", *TINY, "trainer.max_steps=1", "logger=mlflow", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["train", *words, "logger.mlflow.tracking_uri=http://127.0.0.1:9"]) == 1
    said = capsys.readouterr().err
    assert (
        "trimer: MLflow at http://127.0.0.1:9 cannot be used ([Errno 111] Connection refused): check" in said
        and "Traceback" not in said
    )
    assert not Path(tmp_path / "run" / "checkpoints").exists()
