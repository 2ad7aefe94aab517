"""Models are uploaded to and downloaded from the Hub, against a local stand-in of its HTTP API."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trimer.api import load
from trimer.errors import ConfigError, InputError
from trimer.export.folder import PACKED, write_packed_folder
from trimer.export.hub import pull, push

pytest.importorskip("huggingface_hub")
COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """The routes that huggingface_hub uses, with all files of one repository in memory."""

    files: dict[str, bytes]
    requests: list[tuple[str, str]]

    def log_message(self, *_):
        pass

    def reply(self, value, code=200, **headers):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        if length := self.headers.get("Content-Length"):
            return self.rfile.read(int(length))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self):
        body, here = self.body(), f"http://{self.headers['Host']}/me/model"
        self.requests.append((self.path, self.headers.get("Authorization", "")))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.reply({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self.reply({"url": here, "name": "me/model", "id": "1"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self.reply({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif "/commit/" not in self.path:  # such as the check of the model card
            self.reply({"errors": [], "warnings": []})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.reply({"commitUrl": f"{here}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

    def do_GET(self):
        self.requests.append((self.path, self.headers.get("Authorization", "")))
        if "/resolve/" in self.path:
            data = self.files[self.path.partition(f"/resolve/{COMMIT}/")[2]]
            self.reply(data, ETag='"1"', X_Repo_Commit=COMMIT)
        elif "/missing" in self.path:
            self.reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif "/tree/" in self.path:
            entries = [{"type": "file", "oid": "1", "size": len(d), "path": name} for name, d in self.files.items()]
            self.reply(entries)
        else:
            self.reply({"id": "me/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]})

    do_HEAD = do_GET


@pytest.fixture
def hub(monkeypatch, tmp_path):
    handler = type("Handler", (Hub,), {"files": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    yield handler
    server.shutdown()


@pytest.fixture
def exported(tmp_path):
    folder = tmp_path / "exported"
    write_packed_folder("peptide-rt", folder / PACKED, weights="float16")
    (folder / "README.md").write_text("# card")
    (folder / "handler.py").write_text("print('runs')")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


def test_a_pushed_model_is_pulled_and_predicts_the_same(hub, exported, tmp_path):
    assert push(exported, "me/model").endswith(f"/me/model/commit/{COMMIT}")
    assert {"README.md", "handler.py", "trimer/weights.safetensors"} <= set(hub.files)
    pulled = pull("me/model", tmp_path / "pulled")
    assert pulled == tmp_path / "pulled" / PACKED
    names = {path.name for path in (tmp_path / "pulled").rglob("*") if path.is_file()}
    assert "README.md" in names and not names & {"handler.py", "pytorch_model.bin"}  # nothing that runs
    peptides = ["LGGNEQVTR", "ACDEFGHK"]
    first, second = load("peptide-rt").predict(peptides), load(pulled).predict(peptides)
    assert [row["retention"] for row in first] == [row["retention"] for row in second]


def test_errors_of_the_hub_are_sentences(hub, exported, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"pull=me/missing: .*; check the name, the connection and the token"):
        pull("me/missing", tmp_path / "other")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="push=me/model: "):
        push(exported, "me/model")
    assert not hub.files
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="pull=me/model: "):
        pull("me/model", tmp_path / "another")


def test_names_and_existing_folders_are_checked_before_anything_is_sent(hub, exported, tmp_path):
    for name in ("model", "../x/y", "https://huggingface.co/me/model", ""):
        with pytest.raises(ConfigError, match="must be user/model"):
            push(exported, name)
        with pytest.raises(ConfigError, match="must be user/model"):
            pull(name, tmp_path / "new")
    with pytest.raises(ConfigError, match="exists already: name another folder"):
        pull("me/model", exported)
    assert not hub.requests


def test_a_model_without_safetensors_is_refused(hub, tmp_path):
    hub.files["pytorch_model.bin"] = b"pickle"
    hub.files["config.json"] = b"{}"
    with pytest.raises(InputError, match="no weights as safetensors"):
        pull("me/model", tmp_path / "pulled")
