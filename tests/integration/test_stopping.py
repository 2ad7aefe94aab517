"""A run that a signal interrupts at any point gives the result of the uninterrupted run after resuming."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from two_processes import Pair

from trimer.cli.main import main
from trimer.loggers import CSV

PROTEINS = [
    "data=simulated_proteins", "data.source.proteins=120", "data.tokens_per_batch=800", "model=esm2_nano",
    "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}", "task=masked_lm", "trainer.enable_progress_bar=false",
    "trainer.max_steps=6", "trainer.log_every_n_steps=2", "callbacks=ema", "trainer.val_check_interval=4",
]  # fmt: skip
CLOCK = ("tokens_per_second", "residues_per_second")


@pytest.fixture(autouse=True)
def process(monkeypatch, tmp_path_factory):
    """Share one cache between all tests, and restore the signal handlers."""
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path_factory.getbasetemp() / "stopping-cache"))
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def train(folder, *words: str) -> int:
    resume = [f"resume={folder}"] if (folder / "run.json").exists() else PROTEINS
    return main(["train", *resume, *words, f"hydra.run.dir={folder}"])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """words -> folder of the run with these words that nothing has stopped; trained on first use."""
    folders: dict[tuple[str, ...], Path] = {}

    def trained(*words: str) -> Path:
        if words not in folders:
            folder = tmp_path_factory.mktemp("uninterrupted") / "run"
            assert train(folder, *words) == 0
            folders[words] = folder
        return folders[words]

    return trained


def rows(folder) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in CSV(folder)._written()]


def results(folder) -> dict:
    result = json.loads((folder / "result.json").read_text())
    return {"steps": result["steps"]} | {k: v for k, v in result["metrics"].items() if k not in CLOCK}


def check_same(one, other) -> None:
    """Compare weights, averaged weights, the best weights, logged rows and final metrics."""
    for file in ("last.ckpt", "best.ckpt"):
        states = [torch.load(path / "checkpoints" / file, weights_only=True) for path in (one, other)]
        for part in ("state_dict", "current_model_state"):
            for name, tensor in states[0].get(part, {}).items():
                assert torch.equal(states[1][part][name], tensor), (file, part, name)
    assert states[0]["global_step"] == states[1]["global_step"]
    assert rows(one) == rows(other) and results(one) == results(other)


def stop_in(patch, hook: str, number: int, when) -> None:
    """Raise a signal in a callback hook as soon as `when(trainer)` holds."""

    def ask(self, trainer, *args) -> None:
        if when(trainer):
            signal.raise_signal(number)

    patch.setattr(f"trimer.callbacks.host_memory.HostMemory.{hook}", ask, raising=False)


@pytest.mark.parametrize(
    ("hook", "number", "settings", "step", "due"),
    [
        pytest.param("on_validation_batch_end", signal.SIGTERM, [], 4, True, id="within a validation"),
        pytest.param("on_validation_batch_end", signal.SIGINT, [], 4, True, id="within a validation, Ctrl-C"),
        pytest.param("on_validation_end", signal.SIGTERM, [], 4, False, id="at the end of a validation"),
        pytest.param("on_validation_start", signal.SIGTERM, ["trainer.max_steps=4"], 4, True, id="the last validation"),
        pytest.param(
            "on_validation_batch_end", signal.SIGTERM, ["trainer.accumulate_grad_batches=3"], 2, False,
            id="a validation within a step",
        ),
        pytest.param("on_train_epoch_end", signal.SIGTERM, [], 6, False, id="after the last step"),
        pytest.param("on_train_end", signal.SIGTERM, [], 6, False, id="at the end of the training"),
    ],
)  # fmt: skip
def test_a_signal_leaves_a_complete_checkpoint(tmp_path, uninterrupted, monkeypatch, hook, number, settings, step, due):
    common = ["test=false", *settings]
    complete = uninterrupted(*common)
    with monkeypatch.context() as patch:
        stop_in(patch, hook, number, lambda trainer: True)
        assert train(tmp_path / "parts", *common) == (143 if number == signal.SIGTERM else 130)
    saved = torch.load(tmp_path / "parts" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == step
    assert saved["loops"]["fit_loop"]["epoch_loop.state_dict"]["validation_due"] is due
    assert train(tmp_path / "parts") == 0
    check_same(complete, tmp_path / "parts")


@pytest.mark.parametrize("settings", [[], ["trainer=epochs", "trainer.max_epochs=2", "trainer.max_steps=-1"]])
def test_an_interrupted_test_phase_is_resumed(tmp_path, monkeypatch, settings):
    common = [*settings, "baselines=false", *(["scheduler=warmup_plateau", "scheduler.warmup=1"] if settings else [])]
    if settings:
        common += ["trainer.limit_train_batches=3", "trainer.val_check_interval=null"]
    assert train(tmp_path / "whole", *common) == 0
    with monkeypatch.context() as patch:
        patch.setattr("trimer.commands.evaluate.evaluate_test_split", lambda *_: signal.raise_signal(signal.SIGTERM))
        assert train(tmp_path / "parts", *common) == 143
    assert json.loads((tmp_path / "parts" / "result.json").read_text())["error"] == "stopped by SIGTERM"
    assert train(tmp_path / "parts") == 0
    assert "test/loss" in results(tmp_path / "parts")
    check_same(tmp_path / "whole", tmp_path / "parts")


def test_a_signal_to_all_processes_of_a_job_leaves_a_checkpoint(tmp_path, monkeypatch):
    """Job schedulers send signals to all processes of a job."""
    import multiprocessing

    def ask(self, trainer, module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == 3:
            children = multiprocessing.active_children()
            assert children
            for child in children:
                os.kill(child.pid, signal.SIGTERM)
            time.sleep(0.5)
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_end", ask)
        assert train(tmp_path, "test=false", "data.num_workers=1") == 143
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3


# Rank 1 raises a signal within a step as soon as the file `stop` exists.
STOP = """
import os, signal
from trimer.callbacks.host_memory import HostMemory

def ask(self, trainer, module, outputs, batch, batch_idx):
    if batch_idx == 4 and trainer.global_rank == 1 and os.path.exists("stop"):
        signal.raise_signal(signal.SIGTERM)

HostMemory.on_train_batch_end = ask
"""


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_and_resume(tmp_path):
    """Only one of the two processes receives the signal."""
    words = [*PROTEINS, "test=false", "callbacks=default", "trainer=ddp", "trainer.accelerator=cpu"]
    words += ["trainer.precision=32-true", "trainer.accumulate_grad_batches=2"]
    pair = Pair(tmp_path, STOP)

    def run(folder, *more: str) -> list[int]:
        return pair("train", *more, f"hydra.run.dir={folder}")

    try:
        assert run(tmp_path / "whole", *words) == [0, 0], pair.text()
        (tmp_path / "stop").touch()
        assert run(tmp_path / "parts", *words) == [143, 143], pair.text()
        (tmp_path / "stop").unlink()
        last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
        assert torch.load(last, weights_only=True)["global_step"] == 3
        assert run(tmp_path / "parts", f"resume={tmp_path / 'parts'}") == [0, 0], pair.text()
    finally:
        pair.close()
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("whole", "parts")
    ]
    assert states[0]["global_step"] == states[1]["global_step"] == 6
    assert states[0]["work"] == states[1]["work"]
    for name, tensor in states[0]["state_dict"].items():
        assert torch.allclose(states[1]["state_dict"][name], tensor, atol=1e-6), name
