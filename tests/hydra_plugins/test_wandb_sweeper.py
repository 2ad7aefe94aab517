"""W&B sweeps: the file that is written, and a run as W&B's agent starts it, with a stand-in for the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

SPACE = ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "seed=choice(1,2)", "optimizer.betas=choice([0.9,0.95])"]


def test_an_agent_runs_the_command_of_the_file(trimer, shell, empty_folder, capsys):
    assert trimer("train", "hparams_search=wandb", "name=study", "optimizer.weight_decay=0.01", *SPACE) == 0
    assert "next: wandb sweep wandb_sweep.yaml" in capsys.readouterr().out
    assert not (empty_folder / "runs").exists()
    content = yaml.safe_load((empty_folder / "wandb_sweep.yaml").read_text())
    assert (content["method"], content["project"]) == ("bayes", "trimer")
    assert content["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert content["parameters"] == {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "seed": {"values": [1, 2]},
        "optimizer.betas": {"values": ["[0.9,0.95]"]},
    }
    # What W&B's agent does with the file, by its own functions.
    chosen = {"optimizer.lr": 0.0003, "seed": 2, "optimizer.betas": "[0.9,0.95]"}
    macros = create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    macros |= {"env": ["/usr/bin/env"], "program": [content["program"]]}
    command = create_sweep_command(content["command"])
    words = [part for word in command for part in (macros[word[2:-1]] if word.startswith("${") else [word])]
    assert words[:3] == ["/usr/bin/env", "trimer", "train"]
    assert {"name=study", "logger=wandb", "objective=val/loss", "test=false"} <= set(words)
    done = shell("toy", *words[2:], WANDB_SWEEP_ID="abc", WANDB_RUN_ID="agent-7")
    assert done.returncode == 0, done.stderr
    (run,) = empty_folder.glob("runs/study/*/run.json")
    assert json.loads(run.read_text())["id"] == "agent-7"
    assert json.loads((run.parent / "result.json").read_text())["metrics"] == {"lr": 0.0003}


class Service(ThreadingHTTPServer):
    """What `wandb sweep` and `wandb agent` ask W&B for: keeps the file of a sweep, and sends one run to the agent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.config: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}  # with which the sweep was created
        self.sent = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertSweep" in query:
            self.config, self.variables = yaml.safe_load(variables["config"]), variables
            project = {"id": "1", "name": variables["projectName"], "entity": {"id": "2", "name": "someone"}}
            return {"upsertSweep": {"sweep": {"name": "sweep1", "project": project}, "configValidationWarnings": []}}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent1"}}}
        if "agentHeartbeat" in query:
            return {"agentHeartbeat": {"agent": {"id": "agent1"}, "commands": json.dumps(self.commands(variables))}}
        if "sweep(" in query:
            sweep = {"name": "sweep1", "state": "RUNNING", "config": yaml.safe_dump(self.config), "runs": {"edges": []}}
            return {"project": {"sweep": sweep}}
        return {"viewer": {"id": "3", "entity": "someone", "username": "someone", "flags": "{}"}}

    def commands(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        if not self.sent:
            self.sent = True
            chosen = {"optimizer.lr": {"value": 0.0003}, "seed": {"value": 2}}
            return [{"type": "run", "run_id": "agent-8", "program": self.config["program"], "args": chosen}]
        return [] if any(json.loads(variables["runState"]).values()) else [{"type": "exit"}]


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body) if self.path == "/graphql" else {"query": ""}
        answer = self.server.answer(asked["query"], asked.get("variables") or {})
        text = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def service():
    with Service() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()


@pytest.mark.slow
def test_the_commands_of_wandb_create_the_sweep_and_run_it(trimer, shell, empty_folder, service):
    """`wandb sweep` and `wandb agent` themselves; the run is that of toy.py, offline."""
    assert trimer("train", "hparams_search=wandb", "name=study", *SPACE[:2]) == 0
    assert shell("toy", "--version").returncode == 0  # writes toy.py
    program = empty_folder / "bin" / "trimer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m toy "$@"\n')
    program.chmod(0o755)
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {
        **os.environ,
        "HOME": str(empty_folder),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(source), str(empty_folder)]),
        "WANDB_API_KEY": "0" * 40,
        "WANDB_BASE_URL": service.address,
        "WANDB_ERROR_REPORTING": "false",
    }

    def wandb(*words: str, **more: str) -> str:
        command = [sys.executable, "-m", "wandb", *words]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "wandb agent someone/trimer/sweep1" in wandb("sweep", "wandb_sweep.yaml")
    assert service.variables["projectName"] == "trimer" and service.config["method"] == "bayes"
    wandb("agent", "someone/trimer/sweep1", WANDB_MODE="offline")
    (run,) = empty_folder.glob("runs/study/*/run.json")
    assert json.loads(run.read_text())["id"] == "agent-8"
    assert json.loads((run.parent / "result.json").read_text())["metrics"] == {"lr": 0.0003}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["hydra.sweeper.method=grid"], "method=grid needs values, such as optimizer.lr=1,2,3"),
        (["logger=csv"], "logger=csv: a W&B sweep needs logger=wandb or logger=many"),
        (["objective=null"], "a search needs objective=<metric>"),
        (["optimizer.lrr=1,2"], "did you mean optimizer.lr?"),
    ],
)
def test_mistakes_are_reported_before_the_file_is_written(trimer, empty_folder, capsys, words, sentence):
    assert trimer("train", "hparams_search=wandb", *words) in (1, 2)
    assert sentence in capsys.readouterr().err
    assert not (empty_folder / "wandb_sweep.yaml").exists()
