"""Jobs of sweeps in forked processes, which share the imports of PyTorch: a job takes a second, not six."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  imported once for all jobs
import matplotlib.pyplot  # noqa: F401
import pytest
import rdkit.Chem  # noqa: F401
import sklearn.linear_model  # noqa: F401
import torchmetrics  # noqa: F401
from hydra.core.plugins import Plugins

import trimer.checkpoint  # noqa: F401
from trimer.cli.main import main
from trimer.sweeps.job_folders import JobCommand

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("train", "prepare")
LOG = "forked.log"  # in the folder of a job


def fork_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `launcher=process` fork its jobs until the end of a test."""
    Plugins.instance()  # imports the launchers once more
    module = sys.modules["hydra_plugins.trimer.process_launcher"]
    monkeypatch.setattr(module.ProcessLauncher, "execute", execute)
    paths = [str(ROOT / "src"), str(ROOT / "tests" / "helpers"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in dict.fromkeys(paths) if path))


def execute(launcher: Any, command: JobCommand) -> int:
    """In place of `ProcessLauncher.execute`: the job as a fork of a process that has imported everything."""
    first = next(place for place, word in enumerate(command.words) if word in COMMANDS)
    arguments = (command.words[first:], command.folder, command.cwd, dict(os.environ))
    process = server().Process(target=run, args=arguments)
    process.start()
    process.join()
    return process.exitcode or 0


def server() -> Any:
    """The context of the process from which jobs are forked; it starts with the first job."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked_jobs"])
    return context


def run(words: list[str], folder: str, cwd: str, environment: dict[str, str]) -> None:
    """Run the command line of a job in this process; its output goes to the job's folder."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    log = os.open(Path(folder) / LOG, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.argv = ["trimer", *words]
    sys.exit(main(words))
