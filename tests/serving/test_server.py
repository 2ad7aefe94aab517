"""A real server: start, ready, predict, kill -9 with a job, restart, SIGTERM with a request in progress."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("grpc")

import grpc
from starlette.testclient import TestClient
from waiting import until

import trimer
from trimer.cli.configs import compose
from trimer.errors import ConfigError
from trimer.serving import server as serving
from trimer.serving.app import create_app
from trimer.serving.batching import Cancelled
from trimer.serving.grpc_messages import classes
from trimer.serving.server import Server, address_and_models, uvicorn_config

SOURCE = Path(serving.__file__).parents[2]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serving.md"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(url: str, data: bytes | None = None, media: str = "application/json") -> dict:
    request = urllib.request.Request(url, data, {"Content-Type": media} if data else {})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.loads(response.read())


def is_ready(process: subprocess.Popen, url: str) -> bool:
    assert process.poll() is None, process.stderr.read()
    try:
        return ask(f"{url}/readyz")["status"] == "ready"
    except OSError:
        return False


def grpc_is_ready(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ServerReady",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=classes()["ServerReadyResponse"].FromString,
        )
        return call(classes()["ServerReadyRequest"](), timeout=30).ready


@contextmanager
def started(port: int, folder: Path, *further: str) -> Iterator[subprocess.Popen]:
    words = ["serve", "ckpt=peptide-rt", f"port={port}", f"jobs.folder={folder / 'jobs'}", "trainer.precision=32-true"]
    words += further
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TRIMER_CACHE": str(folder / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trimer", *words], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: is_ready(process, f"http://127.0.0.1:{port}"), 120)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_server_continues_its_job_and_sigterm_finishes_what_was_accepted(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    table = b"sequence\n" + b"PEPTIDEPEPTIDEPEPTIDEK\n" * 6_000
    with started(port, tmp_path) as process:
        job = ask(f"{url}/v1/jobs?model=peptide-rt", table, "text/csv")["id"]
        until(lambda: ask(f"{url}/v1/jobs/{job}")["done"] > 0)
        process.kill()
    grpc_port = free_port()
    with started(port, tmp_path, f"grpc_port={grpc_port}") as process:
        assert grpc_is_ready(grpc_port)
        assert ask(f"{url}/v1/jobs/{job}")["state"] in ("queued", "running", "done")
        results: list[dict] = []
        body = json.dumps({"records": ["PEPTIDEK"] * 1500}).encode()
        predict = f"{url}/v1/models/peptide-rt/predict"
        request = threading.Thread(target=lambda: results.append(ask(predict, body)))
        request.start()
        until(lambda: "trimer_active_requests 1.0" in metrics(url))
        process.send_signal(signal.SIGTERM)
        request.join(60)
        assert process.wait(60) == 0
    assert len(results[0]["rows"]) == 1500
    assert results[0]["without"] == 0
    (folder,) = (path for path in (tmp_path / "jobs").iterdir() if path.is_dir())
    assert (folder / "rows.partial").is_file() or (folder / "rows.ndjson").is_file()


def metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as response:
        return response.read().decode()


@pytest.fixture
def running(service, monkeypatch):
    """The port of a server in a thread, which closes connections that send no head."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    with in_a_thread(service) as port:
        yield port


@contextmanager
def in_a_thread(service, app=None) -> Iterator[int]:
    """The port of a server with the limits of the service. app: in place of its application."""
    port = free_port()
    app = app or create_app(service)
    config = uvicorn_config(app, "127.0.0.1", port, service.limits, 1)
    config.lifespan = "off"  # the service is that of other tests too
    server = Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(10)


def test_clients_that_send_slowly_are_disconnected(running):
    with socket.create_connection(("127.0.0.1", running), timeout=10) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        begin = time.monotonic()
        assert slow.recv(1000) == b""
        assert time.monotonic() - begin < 5
    with socket.create_connection(("127.0.0.1", running), timeout=10) as usual:
        usual.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        parts = iter(lambda: usual.recv(1000), b"")
        assert b"alive" in b"".join(parts)


def test_slow_bodies_and_further_connections_are_refused_with_their_limit(service, monkeypatch):
    monkeypatch.setattr(service, "limits", replace(service.limits, upload_seconds=0.3, connections=3))
    head = b"POST /v1/models/peptide-rt/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"
    with in_a_thread(service) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            slow.sendall(head + b"sequence\n")
            answer = b"".join(iter(lambda: slow.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 408") and b"limits.upload_seconds" in answer
        with ExitStack() as open_ones:
            for _ in range(3):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(f"http://127.0.0.1:{port}/healthz")
        assert refused.value.code == 429
        assert int(refused.value.headers["Retry-After"]) > 0
        assert "limits.connections" in json.loads(refused.value.read())["error"]["message"]
        until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))


def answers(url: str) -> bool:
    """Whether a server accepts a request."""
    try:
        return ask(url)["status"] == "alive"
    except OSError:
        return False


async def endless(scope, receive, send) -> None:
    """An application whose response is larger than all buffers: 64 MiB in one message, or in many."""
    sizes = [64] if scope["path"] == "/one" else [1] * 64
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number, size in enumerate(sizes, 1):
        await send({"type": "http.response.body", "body": bytes(size << 20), "more_body": number < len(sizes)})


@pytest.mark.parametrize("path", ["one", "many"])
def test_clients_that_do_not_take_their_response_are_disconnected(service, monkeypatch, path):
    monkeypatch.setattr(serving, "SEND_SECONDS", 0.3)
    with in_a_thread(service, endless) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        assert slow.recv(12) == b"HTTP/1.1 200"
        time.sleep(1)
        taken = 0
        with suppress(ConnectionResetError):
            while part := slow.recv(1 << 20):
                taken += len(part)
        assert taken < 32 << 20  # what the buffers of the system held
    monkeypatch.setattr(serving, "SEND_SECONDS", 20.0)
    with in_a_thread(service, endless) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as response:
        assert len(response.read()) == 64 << 20


def test_a_client_that_leaves_ends_the_computation_of_its_lines(service, running):
    body = json.dumps({"records": ["PEPTIDEPEPTIDEK"] * service.limits.records}).encode()
    head = "POST /v1/models/peptide-rt/predict?format=ndjson HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    counted = service.metrics.records.labels("peptide-rt", "predict", "predicted")._value
    before = counted.get()
    with socket.create_connection(("127.0.0.1", running), timeout=60) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.recv(12) == b"HTTP/1.1 200"
    until(lambda: "trimer_active_requests 0.0" in metrics(f"http://127.0.0.1:{running}"))
    assert 0 < counted.get() - before < service.limits.records / 2


def test_a_request_that_outlasts_the_shutdown_is_asked_to_try_again(service, monkeypatch):
    begun, free = threading.Event(), threading.Event()

    def slow(*given):
        begun.set()
        free.wait(60)
        raise Cancelled

    monkeypatch.setattr(service, "answer", slow)
    body = b'{"records": ["PEPTIDEK"]}'
    head = "POST /v1/models/peptide-rt/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with in_a_thread(service) as port:
        client = socket.create_connection(("127.0.0.1", port), timeout=60)
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert begun.wait(60)
    with client:
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    free.set()
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"shutting_down" in answer and b"retry-after" in answer.lower()


def test_the_token_is_read_from_the_environment(monkeypatch):
    apps = []

    class Started(Server):
        def run(self, sockets=None) -> None:
            self.started = True
            apps.append(self.config.app)

    monkeypatch.setattr(serving, "Server", Started)
    for token in ("secret", ""):
        monkeypatch.setenv(serving.TOKEN, token)
        serving.serve(compose("serve", ["ckpt=peptide-rt", "jobs.folder=null"]))
    with_token, without_token = (TestClient(app, "http://localhost") for app in apps)
    assert with_token.get("/v1/models").status_code == 401
    assert with_token.get("/v1/models", headers={"authorization": "Bearer secret"}).json() == {"models": []}
    assert without_token.get("/v1/models").json() == {"models": []}
    other_name = {"host": "evil.example"}
    assert without_token.get("/v1/models", headers=other_name).status_code == 403
    assert with_token.get("/v1/models", headers=other_name | {"authorization": "Bearer secret"}).status_code == 200


def test_a_missing_extra_of_grpc_is_named(service, monkeypatch):
    monkeypatch.delitem(sys.modules, "trimer.serving.grpc_server", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)  # as if it were not installed
    cfg = compose("serve", ["ckpt=peptide-rt", "grpc_port=8500"])
    with pytest.raises(ConfigError, match=r"grpc_port=8500 needs grpc: pip install 'trimer\[grpc\]'"):
        serving.grpc_server_of(service, cfg, "127.0.0.1", None)
    assert serving.grpc_server_of(service, compose("serve", ["ckpt=peptide-rt"]), "127.0.0.1", None) is None


def test_a_head_without_end_is_refused_and_a_long_body_in_small_chunks_is_read(running):
    with socket.create_connection(("127.0.0.1", running), timeout=10) as endless:
        endless.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * serving.HEAD_BYTES)
        assert b"400 Bad Request" in endless.recv(1000)
        assert endless.recv(1000) == b""
    records = [json.dumps({"records": ["PEPTIDEK"] * 3}).encode() + b" " * 20] + [b" " * 20] * 4000
    head = b"POST /v1/models/peptide-rt/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", running), timeout=30) as chunked:
        chunked.sendall(head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        chunked.sendall(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in records) + b"0\r\n\r\n")
        answer = b"".join(iter(lambda: chunked.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b'"sequence":"PEPTIDEK"') == 3


def test_the_example_of_the_guide_predicts_peptides_spectra_and_known_proteins(running, all_models, capsys):
    model = all_models["spectrums"]
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    names: dict = {}
    exec(code.replace(":8000", f":{running}"), names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 + 6
    assert [line.split()[-1] == "None" for line in lines[:3]] == [True, True, False]
    assert all(line.split()[-1] == "None" for line in lines[3:6])  # no reason
    assert lines[6].split() == [model.version, trimer.__version__, "1"]
    proteins = [line.split() for line in lines[7:]]
    assert [words[0] for words in proteins] == ["P43220", "Q9H4B7", "Q15116", "P04637", "Q92963", "P11766"]
    assert [words[words.index("known:") + 1] for words in proteins] == ["M", "S"] * 3
    assert {words[words.index("predicted:") + 1] for words in proteins} <= {"M", "S"}
    assert {words[-1] for words in proteins} == {"no"}  # none of them is in the training data
    offline = all_models["membrane"].model.predict(names["example"]["records"], trainer="cpu")
    served = [row["probability of M"] for row in names["proteins"]["rows"]]
    assert served == pytest.approx(offline["probability of M"], abs=1e-4)
    options = {"seed": 1, "generator": {"num_samples": 8}}
    with ThreadPoolExecutor(3) as pool:  # sampled molecules do not depend on the spectra beside them
        alone = pool.map(lambda record: names["predict"]("spectrums", [record], **options)["rows"][0], names["spectra"])
        assert [row["smiles"] for row in alone] == [row["smiles"] for row in names["molecules"]["rows"]]
    offline = model.model.predict(names["spectra"], trainer="cpu", **options)
    assert offline["smiles"] == [row["smiles"] for row in names["molecules"]["rows"]]


def test_models_come_from_ckpt_or_from_the_folder_of_sagemaker(tmp_path, molecule_run, monkeypatch):
    """Loopback by default; in SageMaker all addresses and its port."""
    cfg = compose("serve", ["ckpt=[a,b]"])
    assert address_and_models(cfg) == ("127.0.0.1", 8000, ["a", "b"])
    cfg = compose("serve", ["ckpt=a", "port=81"])
    assert address_and_models(cfg) == ("127.0.0.1", 81, ["a"])
    weights = tmp_path / "model"
    cfg = compose("serve", [f"model_folder={weights}"])
    assert "peptide-rt" in address_and_models(cfg)[2]
    weights.mkdir()
    with pytest.raises(ConfigError, match="holds no run folder and no packed model"):
        address_and_models(cfg)
    (weights / "kinds").symlink_to(molecule_run)
    assert address_and_models(cfg) == ("0.0.0.0", 8080, [str(weights / "kinds")])
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "9001")
    assert address_and_models(cfg)[1] == 9001
    kept = compose("serve", [f"model_folder={weights}", "ckpt=peptide-rt"])
    assert address_and_models(kept)[0] == "127.0.0.1"
