"""Runs every job of a sweep in its own process, so that jobs do not affect each other.

In one process, jobs share default dtype, seeds, environment and tracker run, and the ranks of a distributed job repeat
the whole sweep. Here a job is the command line of a single run, in the folder `<sweep>/<job number>`. The sweeper gets
the value of `objective` from its `result.json`.

One process runs a sweep folder. Ctrl-C, SIGTERM and SIGHUP are forwarded to the running jobs, which save and end, and
no further job starts. Jobs also end when the process of the sweep ends.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from trimer.verbosity import note

PARENT = "TRIMER_PARENT"  # read by trimer.signals

# Settings of the sweep that are not passed to its jobs.
SWEEP_SETTINGS = ("hydra.mode", "hydra.sweep", "hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher")


@dataclass
class ProcessLauncherConfig:
    """`launcher=process`, the default of `trimer train -m`."""

    _target_: str = "hydra_plugins.trimer.process_launcher.ProcessLauncher"
    n_jobs: int = 1  # parallel jobs


ConfigStore.instance().store(group="hydra/launcher", name="process", node=ProcessLauncherConfig, provider="trimer")


class JobResult(JobReturn):
    """The result of a job; a failure is raised without Hydra's message, since our sentence names the job."""

    @property
    def return_value(self) -> Any:
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class ProcessLauncher(Launcher):
    """A Hydra launcher with one process per job; a crash affects no other job."""

    def __init__(self, n_jobs: int = 1) -> None:
        self.n_jobs = n_jobs
        self.running: set[subprocess.Popen] = set()
        self.stop_signal: int | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        shared = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()
        from trimer.errors import Terminated
        from trimer.signals import FORWARDED, handled

        self.lock()
        # All jobs are composed first, so that a mistake in the last one is reported before the first one trains.
        jobs = [self.prepare(number, list(job), shared) for number, job in enumerate(job_overrides, initial_job_idx)]
        with handled(FORWARDED, self.forward), ThreadPoolExecutor(self.n_jobs) as pool:
            results: list[JobReturn] = list(pool.map(self.run, jobs))
        if self.stop_signal is not None:
            raise KeyboardInterrupt if self.stop_signal == signal.SIGINT else Terminated
        return results

    def lock(self) -> None:
        """Lock the sweep folder until this process ends; ConfigError if another process runs the sweep."""
        from trimer.locks import FolderLock

        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        atexit.register(FolderLock(folder).require().release)

    def forward(self, number: int, frame: Any) -> None:
        """Send a signal to all running jobs; no further job starts."""
        if self.stop_signal is None:
            note("\ntrimer: stopping the jobs of this sweep")
        self.stop_signal = number
        for process in list(self.running):
            send_signal(process, number)

    def prepare(self, number: int, overrides: list[str], shared: set[str]) -> "JobResult":
        """The job's config, folder and name: its number and the overrides that differ between jobs."""
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(cfg):
            cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
        folder = Path(str(self.config.hydra.sweep.dir)) / str(number)
        if read_json(folder / "job.json").get("overrides", overrides) != overrides:
            raise failure(f"{folder} belongs to another sweep; choose another hydra.sweep.dir")
        words = [text for text in filter_overrides(overrides) if text not in shared]
        name = " ".join([f"job {number}", *words]) + f" in {folder}"
        return JobResult(overrides=overrides, cfg=cfg, hydra_cfg=cfg, working_dir=str(folder), task_name=name)

    def run(self, job: "JobResult") -> "JobResult":
        """Run one job; in the folder of an interrupted sweep, resume it or use its earlier result."""
        folder, name = Path(str(job.working_dir)), job.task_name
        if self.stop_signal is not None:
            job.status, job.return_value = JobStatus.FAILED, failure(f"{name}: not started")
            return job
        if has_result(folder):
            note(f"{name}: finished earlier")
            code = 0
        else:
            resumed = can_resume(folder)
            note(f"{name}: {'resumed' if resumed else 'started'}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "job.json").write_text(json.dumps({"overrides": job.overrides}))
            code = self.execute(self.command(job, resumed), folder)
            (folder / "job.json").write_text(json.dumps({"overrides": job.overrides, "exit": code}))
        result = read_json(folder / "result.json")
        value, objective = result.get("objective"), job.cfg.get("objective") if job.cfg else None
        if code:
            reason = result.get("error") or f"see {folder / 'output.log' if self.n_jobs > 1 else folder}"
            job.status, job.return_value = JobStatus.FAILED, failure(f"{name} failed with exit code {code}: {reason}")
        elif objective and value is None:
            job.status, job.return_value = JobStatus.FAILED, failure(f"{name} has no finite {objective}")
        else:
            job.status, job.return_value = JobStatus.COMPLETED, value
            note(f"{name}: " + ("finished" if value is None else f"{objective or 'objective'} {value:.6g}"))
        return job

    def command(self, job: "JobResult", resumed: bool = False) -> list[str]:
        """The command line of one job: that of the sweep, with the job's overrides."""
        import __main__

        entry = ["-m", __main__.__spec__.name] if __main__.__spec__ else [os.path.abspath(sys.argv[0])]
        hydra = [str(text) for text in self.config.hydra.overrides.hydra]
        hydra_overrides = [text for text in hydra if not text.lstrip("+~").startswith(SWEEP_SETTINGS)]
        folders = [
            word
            for part in self.hydra_context.config_loader.get_search_path().get_path()
            if part.provider == "command-line"
            for word in ("--config-dir", part.path.removeprefix("file://"))
        ]
        folder = str(job.working_dir).replace('"', '\\"')
        run_overrides = ["hydra.mode=RUN", f'hydra.run.dir="{folder}"', *([f'resume="{folder}"'] if resumed else [])]
        name = self.config.hydra.job.config_name
        return [sys.executable, *entry, name, *folders, *(job.overrides or []), *hydra_overrides, *run_overrides]

    def execute(self, command: list[str], folder: Path) -> int:
        """Run the command and return its exit code; the output of parallel jobs goes to their folders."""
        # A job may start its own distributed group, so it does not inherit ours.
        distributed = {"LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"}
        environment = {key: value for key, value in os.environ.items() if key not in distributed}
        environment[PARENT] = str(os.getpid())
        with contextlib.ExitStack() as stack:
            log = stack.enter_context((folder / "output.log").open("w")) if self.n_jobs > 1 else None
            # In its own session, so that Ctrl-C in the terminal reaches a job only once, through the sweep.
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            self.running.add(process)
            if self.stop_signal is not None:  # the signal came while the job was started
                send_signal(process, self.stop_signal)
            try:
                return process.wait()
            finally:
                self.running.discard(process)


def send_signal(process: subprocess.Popen, number: int) -> None:
    """Forward a signal to a job; Windows can only end it."""
    if os.name == "nt":
        process.terminate()
    else:
        process.send_signal(number)


def can_resume(folder: Path) -> bool:
    """Whether the run in the folder has a checkpoint; a run without one is removed, so that it starts again."""
    from trimer.locks import FolderLock
    from trimer.run import RunFolder

    run = RunFolder(folder)
    if run.started and run.last_checkpoint() is None:
        FolderLock(folder).require().release()  # another process may be about to write one
        (folder / "run.json").unlink()
    return run.started


def has_result(folder: Path) -> bool:
    """Whether the folder holds the result of a successful job."""
    return read_json(folder / "job.json").get("exit") == 0 and read_json(folder / "result.json").get("status") == "ok"


def failure(sentence: str) -> Exception:
    """The error that the sweeper raises, unless it continues after failures."""
    from trimer.errors import TrimerError

    return TrimerError(sentence)


def read_json(path: Path) -> dict[str, Any]:
    """The content of the file, or an empty dict if it is missing or not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
