"""SageMaker's calls: ping and invocations, with its content types."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from trimer.serving.app import create_app

NAME = "X-Amzn-SageMaker-Custom-Attributes"


def test_ping_and_invocations(client):
    assert client.get("/ping").status_code == 200
    headers = {NAME: "model=peptide-rt", "Content-Type": "text/csv", "Accept": "application/jsonlines"}
    response = client.post("/invocations", content=b"sequence\nPEPTIDEK\nLGGNEQVTR\n", headers=headers)
    assert response.status_code == 200, response.text
    assert len(response.text.splitlines()) == 2
    embedded = client.post(
        "/invocations", json={"records": ["PEPTIDEK"]}, headers={NAME: "model=peptide-rt,operation=embed"}
    )
    assert embedded.json()["rows"][0]["embedding"]


def test_json_lines_have_a_record_in_each_line(client):
    headers = {NAME: "model=peptide-rt", "Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    body = b'{"sequence": "PEPTIDEK"}\n\n{"sequence": "no peptide"}\n{"sequence": "LGGNEQVTR"}\n'
    response = client.post("/invocations", content=body, headers=headers)
    assert response.status_code == 200, response.text
    rows = [json.loads(line) for line in response.text.splitlines()]
    assert [row["sequence"] for row in rows] == ["PEPTIDEK", "no peptide", "LGGNEQVTR"]
    assert [row["reason"] is None for row in rows] == [True, False, True]
    broken = client.post("/invocations", content=b'{"sequence": "PEPTIDEK"}\n{', headers=headers)
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
    assert broken.json()["error"]["message"].startswith("line 2 is not JSON")
    empty = client.post("/invocations", content=b"", headers=headers)
    assert (empty.status_code, empty.json()["error"]["code"]) == (422, "empty")


def test_one_of_several_models_must_be_named(client):
    error = client.post("/invocations", json={"records": ["PEPTIDEK"]}).json()["error"]
    assert error["code"] == "no_model"


def test_a_single_model_needs_no_name(service, monkeypatch):
    monkeypatch.setattr(service, "models", {"peptide-rt": service.models["peptide-rt"]})
    rows = TestClient(create_app(service)).post("/invocations", json={"records": ["PEPTIDEK"]}).json()["rows"]
    assert rows[0]["retention"] == pytest.approx(5.4487, abs=1e-2)
