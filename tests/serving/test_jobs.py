"""Jobs predict large files in the background; a restart continues them; the queue is bounded."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from waiting import until

from trimer.errors import ConfigError
from trimer.resuming import plain_dict
from trimer.serving import jobs as running
from trimer.serving.app import create_app
from trimer.serving.job_store import OPERATION, TABLE, JobStore
from trimer.serving.jobs import Jobs
from trimer.serving.limits import JobLimits, limits_of

CSV = b"sequence\n" + b"\n".join(b"PEPTIDE" + b"K" * (1 + n % 9) for n in range(300)) + b"\nno peptide\n"


@pytest.fixture
def limits(serve_config, tmp_path) -> JobLimits:
    values = plain_dict(serve_config.jobs) | {"folder": str(tmp_path / "jobs")}
    return limits_of(JobLimits, values, "jobs")


@pytest.fixture
def open_jobs(service, limits, tmp_path):
    """Opens the jobs of the folder, as a server does when it starts; all are closed after the test."""
    opened = []

    def make(**changes) -> tuple[Jobs, TestClient]:
        jobs = Jobs(service, tmp_path / "jobs", replace(limits, **changes))
        opened.append(jobs)
        return jobs, TestClient(create_app(service, jobs=jobs))

    yield make
    for jobs in opened:
        if jobs._folder_lock._file is not None:
            jobs.close()


def submit(client, content=CSV, model="peptide-rt", **options):
    return client.post(f"/v1/jobs?model={model}", content=content, **options)


def ended(client, job: str) -> dict:
    until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] not in ("queued", "running"))
    return client.get(f"/v1/jobs/{job}").json()


def test_a_job_gives_the_rows_of_a_prediction_in_every_format(open_jobs, tmp_path):
    jobs, client = open_jobs()
    jobs.start()
    sent = submit(client)
    assert sent.status_code == 202, sent.text
    job = sent.json()["id"]
    assert sent.headers["location"] == f"/v1/jobs/{job}"
    state = ended(client, job)
    assert (state["state"], state["done"], state["total"], state["without"]) == ("done", 301, 301, 1)
    rows = [json.loads(line) for line in client.get(f"/v1/jobs/{job}/result?format=ndjson").text.splitlines()]
    direct = client.post("/v1/models/peptide-rt/predict", content=CSV).json()["rows"]
    assert [row["retention"] for row in rows] == pytest.approx([row["retention"] for row in direct], abs=1e-4)
    table = client.get(f"/v1/jobs/{job}/result?format=csv")
    assert len(table.text.splitlines()) == 302
    assert table.headers["trimer-complete"] == "true"
    assert {path.name for path in (tmp_path / "jobs" / job).iterdir()} == {"rows.ndjson"}  # the input is deleted
    assert client.delete(f"/v1/jobs/{job}").json()["state"] == "deleted"
    assert client.get(f"/v1/jobs/{job}").status_code == 404


def test_a_job_of_embeddings_gives_the_vectors_in_every_format(open_jobs, service):
    jobs, client = open_jobs()
    jobs.start()
    sent = client.post("/v1/jobs?model=peptide-rt&operation=embed&pooling=cls", content=CSV)
    assert (sent.status_code, sent.json()["operation"]) == (202, "embed"), sent.text
    job = sent.json()["id"]
    assert ended(client, job)["state"] == "done"
    direct = client.post("/v1/models/peptide-rt/embed?pooling=cls", content=CSV).json()["rows"]

    def result(name: str):
        response = client.get(f"/v1/jobs/{job}/result?format={name}")
        assert response.headers["trimer-complete"] == "true"
        return response

    parquet = pq.read_table(io.BytesIO(result("parquet").content))
    assert str(parquet.schema.field("embedding").type).startswith("list<") and "float" in str(parquet.schema)
    lines = [json.loads(line) for line in result("ndjson").text.splitlines()]
    table = list(csv.DictReader(io.StringIO(result("csv").text)))
    assert len(lines) == len(table) == len(parquet) == 301
    assert table[0].keys() == direct[0].keys()
    for row in (0, 128, 299):
        expected = pytest.approx(direct[row]["embedding"], abs=1e-5)
        assert lines[row]["embedding"] == expected
        assert parquet["embedding"][row].as_py() == expected
        assert json.loads(table[row]["embedding"]) == expected
    assert lines[300]["reason"] == table[300]["reason"] == direct[300]["reason"]
    assert result("json").json()["rows"][300]["embedding"] is None
    refused = client.post("/v1/jobs?model=peptide-ms2&operation=embed", content=CSV)
    assert refused.json()["error"]["code"] == "unsupported_operation"
    wrong = client.post("/v1/jobs?model=peptide-rt&operation=embed&pooling=largest", content=CSV)
    assert wrong.status_code == 422 and "pooling=largest" in wrong.text


def test_a_job_of_too_many_numbers_fails_with_the_limit(open_jobs):
    jobs, client = open_jobs(numbers=10)
    jobs.start()
    job = client.post("/v1/jobs?model=peptide-rt&operation=embed", content=b"sequence\nPEPTIDEK\n").json()["id"]
    state = ended(client, job)
    assert state["state"] == "failed"
    assert "jobs.numbers" in state["message"]


def test_jobs_of_an_earlier_version_are_predictions(tmp_path):
    """Its database has no column for the operation."""
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database:
        database.execute(TABLE.replace(f",\n    {OPERATION}", ""))
        values = ("0" * 32, "rt", "1", "{}", "upload.csv", "queued", 1.0)
        names = "id, model, version, settings, input, state, created"
        database.execute(f"INSERT INTO jobs ({names}) VALUES (?,?,?,?,?,?,?)", values)
        database.commit()
    store = JobStore(tmp_path)
    assert store.get("0" * 32)["operation"] == "predict"
    store.close()


def test_the_queue_is_bounded_and_a_waiting_job_can_be_cancelled(open_jobs, tmp_path):
    _, client = open_jobs(waiting=2)  # the thread does not run
    first, second = (submit(client).json()["id"] for _ in range(2))
    assert client.get(f"/v1/jobs/{second}").json()["position"] == 2
    full = submit(client)
    assert (full.status_code, full.json()["error"]["code"]) == (429, "too_many_jobs")
    assert int(full.headers["retry-after"]) > 0
    assert client.get(f"/v1/jobs/{first}/result").json()["error"]["code"] == "no_result_yet"
    assert client.delete(f"/v1/jobs/{first}").json()["state"] == "cancelled"
    assert list((tmp_path / "jobs" / first).iterdir()) == []
    assert submit(client).status_code == 202


def test_a_running_job_has_an_end_and_rows_so_far_and_can_be_cancelled(open_jobs, service, monkeypatch, tmp_path):
    jobs, client = open_jobs()
    model, reached, go = service.models["peptide-rt"], threading.Event(), threading.Event()
    file_rows = model.file_rows

    def slow(*given):
        total, predictions = file_rows(*given)

        def waiting():
            for number, prediction in enumerate(predictions):
                if number == 3:
                    reached.set()
                    go.wait(60)
                yield prediction

        return total, waiting()

    monkeypatch.setattr(model, "file_rows", slow)
    monkeypatch.setattr(running, "SECONDS", -1.0)  # progress after each record
    jobs.start()
    job = submit(client).json()["id"]
    assert reached.wait(60)
    state = client.get(f"/v1/jobs/{job}").json()
    assert (state["state"], state["done"], state["total"]) == ("running", 3, 301)
    assert state["eta_seconds"] > 0
    table = client.get(f"/v1/jobs/{job}/result?format=csv")
    assert (table.headers["trimer-complete"], table.headers["trimer-state"]) == ("false", "running")
    assert len(table.text.splitlines()) == 1 + 3
    assert client.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    go.set()
    until(lambda: jobs._running is None)
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    rows = client.get(f"/v1/jobs/{job}/result?format=ndjson")
    assert rows.headers["trimer-complete"] == "false"
    assert [json.loads(line)["row"] for line in rows.text.splitlines()] == [1, 2, 3]
    assert {path.name for path in (tmp_path / "jobs" / job).iterdir()} == {"rows.ndjson"}


def test_results_are_deleted_after_their_time(open_jobs, tmp_path):
    jobs, client = open_jobs(keep_hours=1e-9)
    jobs.start()
    job = submit(client, content=b"sequence\nPEPTIDEK\n").json()["id"]
    until(lambda: client.get(f"/v1/jobs/{job}").status_code == 404)
    assert not (tmp_path / "jobs" / job).exists()


def test_jobs_of_a_killed_server_continue(open_jobs, tmp_path, service, monkeypatch):
    """The database says running and half of the rows are computed, as after kill -9."""
    jobs, client = open_jobs()
    job = submit(client).json()["id"]
    values = jobs.store.next()
    model = service.models["peptide-rt"]
    from trimer.serving.batching import Ticket
    from trimer.serving.service import reason_row

    folder = tmp_path / "jobs" / job
    _, predictions = model.file_rows(
        "predict", folder / values["input"], {}, folder / "rows", Ticket(reason_row), service.batcher, service.limits
    )
    for _ in range(200):
        next(predictions)
    with pytest.raises(RuntimeError):
        predictions.throw(RuntimeError)
    jobs.store.update(job, ("queued",), state="running")
    assert (folder / "rows.partial").is_file()
    jobs.close()
    computed = []
    monkeypatch.setattr(service.batcher, "_observe", lambda rows, tokens: computed.append(rows))
    jobs, client = open_jobs()
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "queued"
    jobs.start()
    assert ended(client, job)["done"] == 301
    assert sum(computed) <= 301 - 256  # two chunks of 128 were kept
    assert len(client.get(f"/v1/jobs/{job}/result?format=ndjson").text.splitlines()) == 301


def test_a_folder_belongs_to_one_server_and_ids_are_no_paths(open_jobs, limits, service, tmp_path):
    jobs, client = open_jobs()
    for wrong in ("..", "0" * 31, "..%2F..%2Fetc%2Fpasswd"):
        assert client.get(f"/v1/jobs/{wrong}").status_code == 404
    with pytest.raises(ValueError, match="is not the id of a job"):
        jobs.store.folder_of("../etc")


def test_wrong_jobs_are_reported_when_they_are_submitted(open_jobs):
    jobs, client = open_jobs()
    assert submit(client, model="none").status_code == 404
    wrong = submit(client, content=b"", model="peptide-rt")
    assert wrong.json()["error"]["code"] == "empty"
    refused = client.post("/v1/jobs?model=peptide-rt&library=/etc/passwd", content=CSV)
    assert refused.json()["error"]["code"] == "invalid_parameters"
    assert client.post("/v1/jobs", content=CSV).json()["error"]["code"] == "no_model"
    below = client.post("/v1/jobs?model=peptide-ms2&energy=-1", content=CSV)
    assert (below.status_code, below.json()["error"]["code"]) == (422, "unusable_input")
    jobs.start()
    job = submit(client, content=b"name,mass\na,1\n").json()["id"]
    state = ended(client, job)
    assert state["state"] == "failed"
    assert "upload.csv" in state["message"] and "/jobs/" not in state["message"]


def test_requests_do_not_wait_while_the_file_of_a_job_is_read(open_jobs, service, monkeypatch):
    jobs, client = open_jobs()
    model, reading, go = service.models["peptide-rt"], threading.Event(), threading.Event()
    built = model._built

    def slow(operation, settings):
        predictor = built(operation, settings)
        read = predictor.read

        def wait(path):
            reading.set()
            go.wait(60)
            return read(path)

        predictor.read = wait
        return predictor

    client.post("/v1/models/peptide-rt/predict", json={"records": ["PEPTIDEK"]})
    monkeypatch.setattr(model, "_built", slow)
    jobs.start()
    job = submit(client).json()["id"]
    assert reading.wait(60)
    assert client.post("/v1/models/peptide-rt/predict", json={"records": ["PEPTIDEK"]}).status_code == 200
    go.set()
    assert ended(client, job)["state"] == "done"


def test_a_folder_that_cannot_be_created_is_reported(service, limits, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"jobs\.folder=.* cannot be created"):
        Jobs(service, tmp_path / "file" / "jobs", limits)


def test_a_running_job_that_is_deleted_leaves_nothing(open_jobs, service, monkeypatch, tmp_path, caplog):
    """The second DELETE comes while the thread still writes into the folder of the job."""
    jobs, client = open_jobs()
    model, reading, go = service.models["peptide-rt"], threading.Event(), threading.Event()
    read = model.read

    def slow(*given):
        reading.set()
        go.wait(60)
        return read(*given)

    monkeypatch.setattr(model, "read", slow)
    jobs.start()
    job = submit(client).json()["id"]
    assert reading.wait(60)
    assert [client.delete(f"/v1/jobs/{job}").json()["state"] for _ in range(2)] == ["cancelled", "deleted"]
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    go.set()
    until(lambda: not (tmp_path / "jobs" / job).exists())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert ended(client, submit(client).json()["id"])["state"] == "done"


def test_a_job_continues_under_another_name_of_its_model_and_outlives_it(open_jobs, service, monkeypatch, capfd):
    jobs, client = open_jobs()
    job = submit(client).json()["id"]
    jobs.close()
    renamed = {"of-another-name": service.models["peptide-rt"], "peptide-ms2": service.models["peptide-ms2"]}
    with monkeypatch.context() as patch:
        patch.setattr(service, "models", renamed)
        jobs, client = open_jobs()
        jobs.start()
        assert ended(client, job)["state"] == "done"
        assert len(client.get(f"/v1/jobs/{job}/result?format=csv").text.splitlines()) == 302
        patch.setattr(service, "models", {"peptide-ms2": service.models["peptide-ms2"]})
        refused = client.get(f"/v1/jobs/{job}/result?format=csv")
        assert (refused.status_code, refused.json()["error"]["code"]) == (406, "unknown_format")
        assert len(client.get(f"/v1/jobs/{job}/result?format=ndjson").text.splitlines()) == 301
        patch.setattr(service, "ready", False)
        assert client.get(f"/v1/jobs/{job}/result?format=csv").status_code == 503
    assert "run the same command" not in capfd.readouterr().err
