"""Training on several devices by torch-xla's SPMD mode, with two devices on one CPU: `make test-xla`.

A process has one number of devices, so each training runs in processes of its own.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.xla.test_training import COMMON, FRACTIONS, STUDIES
from trimer.cli.main import main

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="needs torch-xla: make test-xla"),
    pytest.mark.slow,
]

# Runs commands one after the other. Prints the exit codes, the number of compiled programs at each training step, and
# the layouts of weights and optimizer state at the end of each training.
RUN = """
import json, sys
import torch
from trimer.cli.main import main
from trimer.tasks.task import Task

counts, layouts = [], set()
started, ended = Task.on_train_batch_start, Task.on_train_end

def start(self, batch, batch_idx):
    from torch_xla.debug import metrics
    counts.append((metrics.metric_data("CompileTime") or (0,))[0])
    started(self, batch, batch_idx)

def end(self):
    import torch_xla
    state = [value for states in self.trainer.optimizers[0].state.values() for value in states.values()]
    tensors = [*self.parameters(), *state]
    layouts.update(torch_xla._XLAC._get_xla_sharding_spec(t) for t in tensors if t.device.type == "xla")
    ended(self)

Task.on_train_batch_start, Task.on_train_end = start, end
codes = [main(words) for words in json.loads(sys.argv[1])]
print(json.dumps({"codes": codes, "counts": counts, "layouts": sorted(layouts)}))
"""
TWO = "trainer.devices=2"


def process(*commands: list[str], **environment: str) -> subprocess.Popen[str]:
    """A process that runs the commands `train <words>`."""
    words = [["train", *command] for command in commands]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(words)], env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def results(process: subprocess.Popen[str]) -> dict:
    out, errors = process.communicate(timeout=1800)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1]) | {"errors": errors}


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def differences(one: Path, other: Path) -> dict[str, float]:
    """The largest difference of each weight."""
    weights = [state(folder)["state_dict"] for folder in (one, other)]
    return {name: float((tensor - weights[1][name]).abs().max()) for name, tensor in weights[0].items()}


@pytest.mark.parametrize("name", STUDIES)
def test_two_devices_compile_nothing_later_and_resume_exactly(name, tmp_path):
    study = [*COMMON, *STUDIES[name], TWO]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = results(
        process(
            [f"hydra.run.dir={whole}", *study, "trainer.max_steps=7"],
            [f"hydra.run.dir={parts}", *study, "trainer.max_steps=3"],
            [f"resume={parts}", "trainer.max_steps=7"],
        )
    )
    assert result["codes"] == [0, 0, 0], result["errors"]
    assert result["layouts"] == ["{replicated}"]  # weights and optimizer state are whole on every device
    counts = result["counts"]
    assert counts[0] < counts[2] and counts[2:7] == [counts[2]] * 5, "a later step was compiled again"
    assert state(parts)["global_step"] == 7
    assert state(parts)["work"] == state(whole)["work"]
    assert set(differences(whole, parts).values()) == {0.0}


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row[name]) for row in rows for name in ("train/loss", "val/loss") if row[name]]


def test_two_devices_train_like_one_with_twice_the_batch(tmp_path):
    study = [
        *COMMON, "data=simulated_proteins", "data.source.proteins=220", "data.crop=62", FRACTIONS, "model=esm2_nano",
        "model.layers=1", "task=masked_lm", "trainer.row_length=128", "trainer.max_steps=6",
    ]  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    divided = process([f"hydra.run.dir={two}", *study, TWO])
    assert main(["train", f"hydra.run.dir={one}", *study, "data.tokens_per_batch=1024"]) == 0
    assert results(divided)["codes"] == [0]
    assert len(losses(one)) > 5 and losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert max(differences(one, two).values()) < 2e-5
    assert state(one)["work"] == state(two)["work"]


def test_a_process_with_another_number_of_devices_is_rejected(tmp_path):
    """This process has used the CPU as one device, at the latest in the first command."""
    study = [*COMMON, *STUDIES["ESM2"], "trainer.max_steps=1"]
    result = results(
        process([f"hydra.run.dir={tmp_path / 'one'}", *study], [f"hydra.run.dir={tmp_path}/2", *study, TWO])
    )
    assert result["codes"] == [0, 1]
    assert "trainer.devices=2 trainer.num_nodes=1: this process already uses the CPU as 1 devices" in result["errors"]


def test_hosts_stop_together_and_only_the_first_writes(tmp_path):
    """Two processes as two hosts: each computes the program of both, and everything else is as on a pod slice."""
    study = [*COMMON, *STUDIES["ESM2"], "trainer.num_nodes=2", "trainer.max_steps=7"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folders = [tmp_path / "first", tmp_path / "second"]  # on a slice the same folder; apart, to see who writes
    hosts = [
        process([f"hydra.run.dir={folder}", *study, "trainer.max_steps=100000"], NODE_RANK=str(rank), MASTER_PORT=port)
        for rank, folder in enumerate(folders)
    ]
    checkpoint = folders[0] / "checkpoints/last.ckpt"
    deadline = time.monotonic() + 1200
    while not checkpoint.is_file() and time.monotonic() < deadline and all(host.poll() is None for host in hosts):
        time.sleep(0.2)
    hosts[1].send_signal(signal.SIGTERM)
    ended = [results(host) for host in hosts]
    assert checkpoint.is_file() and all(host["codes"] != [0] for host in ended), ended[0]["errors"]
    assert len(ended[0]["counts"]) == len(ended[1]["counts"]) == state(folders[0])["global_step"]
    assert {path.name for path in folders[1].rglob("*") if path.is_file()} <= {"trimer.log"}
