"""What exceeds a limit is refused with 4xx and a sentence that names the limit; clients cannot reach files."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from trimer.serving.app import create_app
from trimer.serving.server import LOOPBACK

URL = "/v1/models/peptide-rt/predict"


@pytest.fixture
def limited(service, monkeypatch):
    """A client of the service with other limits."""

    def make(token: str | None = None, **limits) -> TestClient:
        monkeypatch.setattr(service, "limits", replace(service.limits, **limits))
        return TestClient(create_app(service, token))

    return make


def error_of(response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LocalHost:1", ""])
def test_names_of_this_machine_are_answered(service, host):
    client = TestClient(create_app(service, names=LOOPBACK))
    assert client.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil:80"])
def test_other_names_are_refused_without_a_token(service, host):
    """DNS rebinding: a page of evil.example points its own name to this machine."""
    client = TestClient(create_app(service, names=LOOPBACK))
    assert error_of(client.get("/v1/models", headers={"host": host}), 403)["code"] == "unknown_host"
    assert TestClient(create_app(service)).get("/v1/models", headers={"host": host}).status_code == 200


def test_a_large_body_is_refused_with_or_without_its_length(limited):
    client = limited(body_mib=0.001)
    body = json.dumps({"records": ["PEPTIDEK"] * 200}).encode()
    assert "limits.body_mib of 0.001 MiB" in error_of(client.post(URL, content=body), 413)["message"]
    chunks = (body[start : start + 100] for start in range(0, len(body), 100))
    assert error_of(client.post(URL, content=chunks), 413)["code"] == "body_too_large"


def test_a_gzip_bomb_is_refused(limited):
    bomb = gzip.compress(b"PEPTIDEK\n" * 1_000_000)
    client = limited(unpacked_mib=1)
    for body in (bomb, gzip.compress(bomb)):
        assert "limits.unpacked_mib" in error_of(client.post(URL, content=body), 413)["message"]
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert error_of(client.post(URL, content=bomb, headers=headers), 413)["code"] == "body_too_large"


def test_records_tokens_and_parameters_are_limited(limited):
    client = limited(records=3, tokens=10, candidates=5)
    many = {"records": ["PEPTIDEK"] * 4}
    assert "above the limit of 3" in error_of(client.post(URL, json=many), 413)["message"]
    assert error_of(client.post(URL, content=b"sequence\n" + b"PEPTIDEK\n" * 4), 413)["code"] == "too_many_records"
    rows = client.post(URL, json={"records": ["PEPTIDEK", "PEPTIDEPEPTIDEK"]}).json()["rows"]
    assert rows[0]["reason"] is None
    assert "limits.tokens is 10" in rows[1]["reason"]


def test_a_busy_server_asks_to_try_again(limited):
    refused = limited(requests=0).post(URL, json={"records": ["PEPTIDEK"]})
    assert "limits.requests" in error_of(refused, 429)["message"]
    assert int(refused.headers["retry-after"]) >= 1
    late = limited(requests=8, seconds=1e-9).post(URL, json={"records": ["PEPTIDEK"] * 3})
    assert "limits.seconds" in error_of(late, 429)["message"]


def test_a_token_is_required_except_for_health(limited):
    client = limited(token="secret")
    assert error_of(client.get("/v1/models"), 401)["code"] == "no_token"
    assert error_of(client.get("/metrics", headers={"authorization": "Bearer wrong"}), 401)
    assert client.get("/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_head_is_answered_wherever_get_is(client):
    """Load balancers send it."""
    for path in ("/healthz", "/readyz", "/ping", "/v1/models", "/"):
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b""), path
    assert client.head(URL).status_code == 405


def test_unknown_routes_and_methods_name_what_there_is(client):
    error = error_of(client.get(f"/v1/{'x' * 200}"), 404)
    assert error["code"] == "unknown_route"
    assert "/docs" in error["message"] and "/v1/models" in error["message"] and len(error["message"]) < 200
    wrong = client.put(URL)
    assert error_of(wrong, 405)["message"].startswith(f"{URL} takes POST, not PUT")
    assert wrong.headers["allow"] == "POST"


def test_other_sites_get_no_permission(client):
    response = client.get("/healthz", headers={"origin": "https://example.org"})
    assert not any(name.startswith("access-control") for name in response.headers)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"records": "/etc/passwd"}, "no_records"),
        ({"records": []}, "empty"),
        ([], "no_object"),
        ({"records": ["PEPTIDEK"], "parameters": {"ckpt": "/etc/passwd"}}, "invalid_parameters"),
        ({"records": ["PEPTIDEK"], "parameters": {"library": "/etc/passwd"}}, "invalid_parameters"),
        ({"records": ["PEPTIDEK"], "parameters": {"trainer": {"devices": 8}}}, "invalid_parameters"),
        ({"records": ["PEPTIDEK"], "parameters": {"column": "${oc.env:HOME}"}}, "invalid_parameters"),
        ({"records": ["PEPTIDEK"], "parameters": {"cleaning": {"x": {"_target_": "os.system"}}}}, "invalid_parameters"),
        ({"records": ["PEPTIDEK"], "parameters": [1]}, "invalid_parameters"),
        ({"records": [{"text": "PEPTIDEK"}]}, "unusable_input"),
    ],
)
def test_paths_classes_and_devices_are_no_parameters(client, body, code):
    error = error_of(client.post(URL, json=body), 422)
    assert error["code"] == code
    assert "/work" not in error["message"] and "Traceback" not in error["message"]


def test_texts_that_are_paths_are_records(client):
    rows = client.post(URL, json={"records": ["/etc/passwd", None, 3, {}, ["PEPTIDEK"]]}).json()["rows"]
    assert all(row["reason"] for row in rows)


def test_broken_bodies_are_refused_with_a_sentence(client):
    json_header = {"content-type": "application/json"}
    assert error_of(client.post(URL, content=b"{", headers=json_header), 400)["code"] == "invalid_json"
    assert error_of(client.post(URL, content=b"[" * 100_000, headers=json_header), 400)["code"] == "invalid_json"
    assert error_of(client.post(URL, content=b""), 422)["code"] == "empty"
    assert error_of(client.post(URL, content=b"\x89HDF\r\n"), 415)["code"] == "unsupported_format"
    assert error_of(client.post(URL, content=b"\x1f\x8bbroken"), 422)["code"] == "unreadable_file"
    assert error_of(client.post(URL, content=b"x", headers={"content-encoding": "br"}), 415)
    assert error_of(client.post(URL, data={"parameters": "{}"}, files={}), 422)
    for accept in ("image/png", "application/json;q=0"):
        assert error_of(client.post(URL, content=b"a", headers={"accept": accept}), 406)
    assert "the JSON is a list" in error_of(client.post(URL, json=["PEPTIDEK"]), 422)["message"]
    xml = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><mzML>&a;</mzML>'
    assert "document type" in error_of(client.post(URL, content=xml), 415)["message"]
    assert error_of(client.get(URL), 405)


def test_a_json_request_without_its_media_type_is_named(client):
    """As curl sends it without -H."""
    for media in ("text/json", "application/octet-stream", "application/x-www-form-urlencoded"):
        header = {"content-type": media}
        error = error_of(client.post(URL, content=b' {"records": ["PEPTIDEK"]}', headers=header), 415)
        assert "Content-Type: application/json" in error["message"]
    assert client.post(URL, content=b"sequence\nPEPTIDEK\n", headers=header).status_code == 200


def test_a_message_repeats_no_long_text_of_a_client(client):
    long = "x" * 300_000
    started = time.process_time()
    for options in (
        {"json": {"records": ["PEPTIDEK"], "parameters": {long: 1}}},
        {"json": {"records": [{long: 1}]}},
        {"content": f"{long}\n1\n".encode()},
    ):
        message = error_of(client.post(URL, **options), 422)["message"]
        assert len(message) < 3000
        assert "there are column" in message or "name the column" in message  # the end, which says what to do
    assert time.process_time() - started < 3  # a long name is not compared with those of the settings


def test_a_number_that_no_charge_is_concerns_its_row_only(client):
    good = {"sequence": "PEPTIDEK", "charge": 2, "nce": 27}
    url = "/v1/models/peptide-ms2/predict"
    rows = client.post(url, json={"records": [good, {**good, "charge": 10**30}, good]}).json()["rows"]
    assert [row["reason"] is None for row in rows] == [True, False, True]
    table = f"sequence,charge\nPEPTIDEK,2\nPEPTIDEK,{'9' * 5000}\n".encode()
    rows = client.post(f"{url}?fixed=", content=table).json()["rows"]
    assert [row["reason"] is None for row in rows] == [True, False]


JUNK = [
    None, True, 1e308, -1, "", "\x00", "💥" * 50, "C" * 2000, [], [[]], {}, {"a": {"b": []}}, {"": ""}, {"smiles": [1]},
    {"sequence": {}, "charge": "x"}, {"mz": "a", "intensity": []}, {"mz": [[1]], "intensity": [1]}, {"peaks": "1 2"},
    {"mz": [1e400], "intensity": [None]}, {"mz": [10**400], "intensity": [1]}, 10**400,
    {"smiles": "CCO", "SMILES": "CC"},
]  # fmt: skip


@pytest.mark.parametrize("model", ["kinds", "peptide-rt", "peptide-ms2"])
def test_no_record_is_an_error_of_the_server(client, model):
    """Junk alone, with good records, and with itself."""
    good = {"kinds": "CCO", "peptide-rt": "PEPTIDEK", "peptide-ms2": "PEPTIDEK/2"}[model]
    for records in (*([value] for value in JUNK), [good, *JUNK], [value for value in JUNK if isinstance(value, dict)]):
        body = json.dumps({"records": records})
        headers = {"content-type": "application/json"}
        response = client.post(f"/v1/models/{model}/predict", content=body, headers=headers)
        assert response.status_code in (200, 422), response.text
        if response.status_code == 200:
            assert len({row["row"] for row in response.json()["rows"]}) == len(records)


@pytest.mark.parametrize(
    ("model", "operation", "parameters"),
    [
        ("peptide-rt", "embed", {"longest": "5"}),
        ("peptide-rt", "embed", {"layer": "x"}),
        ("kinds", "predict", {"augment": "100000"}),
        ("kinds", "predict", {"augment": 1.5}),
        ("kinds", "predict", {"augment": True}),
        ("kinds", "predict", {"seed": 1e400}),
    ],
)
def test_a_text_of_digits_does_not_pass_a_limit(client, model, operation, parameters):
    body = json.dumps({"records": ["CCO"], "parameters": parameters})
    response = client.post(
        f"/v1/models/{model}/{operation}", content=body, headers={"content-type": "application/json"}
    )
    error = error_of(response, 422)
    assert error["code"] == "invalid_parameters"
    assert "a whole number" in error["message"]


def test_texts_that_no_response_can_hold_are_refused(client):
    json_header = {"content-type": "application/json"}
    half = b'{"records": ["\\ud800"]}'
    assert "half a character" in error_of(client.post(URL, content=half, headers=json_header), 400)["message"]
    tensors = b'{"id": "\\ud800", "inputs": []}'
    assert error_of(client.post("/v2/models/peptide-rt/infer", content=tensors, headers=json_header), 400)
    nested = b'{"records": ["PEPTIDEK"], "parameters": ' + b'{"a":' * 400 + b"1" + b"}" * 401
    assert "nested" in error_of(client.post(URL, content=nested, headers=json_header), 422)["message"]
    one = {"records": ["PEPTIDEK"]}
    assert error_of(client.post(f"{URL}?seed=%22%5Cud800%22", json=one), 422)
    assert error_of(client.post(f"{URL}?a={'[' * 2000}", json=one), 422)
    assert error_of(client.post("/v1/models/kinds/predict", json={"records": ["C"], "parameters": ["seed"]}), 422)
    assert client.post(URL, json=one, headers={"accept": "text/html;q=., */*;q=0.1"}).status_code == 200
