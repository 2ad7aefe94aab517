"""Runs every job of a sweep in a process of its own, so that no job sees what another left behind.

In one process, jobs inherit each other's default dtype, seeds, environment and tracker run, and the ranks of a
distributed job repeat the whole sweep. Here a job is the same command line as a single run, in `<sweep>/<job number>`.
Its `result.json` is its answer: the value of `objective` goes back to the sweeper.

One process runs a sweep folder. Ctrl-C, SIGTERM and SIGHUP are forwarded to the running jobs, which save and end, and
no further job starts. Jobs also end when the process of the sweep is gone.
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
from omegaconf import DictConfig, OmegaConf, open_dict

PARENT = "TRIMER_PARENT"  # read by trimer.signals

# Settings of the sweep itself, which a single job must not see.
OF_THE_SWEEP = ("hydra.mode", "hydra.sweep", "hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher")


@dataclass
class ProcessLauncherConfig:
    """`launcher=process`, the default of `trimer train -m`."""

    _target_: str = "hydra_plugins.trimer.process_launcher.ProcessLauncher"
    n_jobs: int = 1  # at a time


ConfigStore.instance().store(group="hydra/launcher", name="process", node=ProcessLauncherConfig, provider="trimer")


class Answer(JobReturn):
    """What a job gave back; a failure is raised without Hydra's line about it, since its sentence names the job."""

    @property
    def return_value(self) -> Any:
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class ProcessLauncher(Launcher):
    """Hydra's launcher with one process a job; a job that crashes takes no other with it."""

    def __init__(self, n_jobs: int = 1) -> None:
        self.n_jobs = n_jobs
        self.running: set[subprocess.Popen] = set()
        self.stopped: int | None = None  # by this signal

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        shared = set.intersection(*map(set, job_overrides)) if len(job_overrides) > 1 else set()
        from trimer.errors import Terminated
        from trimer.signals import FORWARDED, handled

        self.lock()
        # All are composed first: a misspelt key of the last job is reported before the first one trains.
        jobs = [self.prepare(number, list(job), shared) for number, job in enumerate(job_overrides, initial_job_idx)]
        with handled(FORWARDED, self.forward), ThreadPoolExecutor(self.n_jobs) as pool:
            done = list(pool.map(self.run, jobs))
        if self.stopped is not None:
            raise KeyboardInterrupt if self.stopped == signal.SIGINT else Terminated
        return done

    def lock(self) -> None:
        """Hold the sweep folder as long as this process lives; ConfigError if another process runs the sweep."""
        from trimer.locks import FolderLock

        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        atexit.register(FolderLock(folder).require().release)

    def forward(self, number: int, frame: Any) -> None:
        """Send a signal to all running jobs; those that have not begun do not begin."""
        if self.stopped is None:
            print("\ntrimer: stopping the jobs of this sweep", file=sys.stderr)
        self.stopped = number
        for process in list(self.running):
            send_signal(process, number)

    def prepare(self, number: int, overrides: list[str], shared: set[str]) -> "Answer":
        """The job's config, folder and name: its number and what it does not share with the others."""
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(cfg):
            cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
        folder = Path(str(self.config.hydra.sweep.dir)) / str(number)
        if read_json(folder / "job.json").get("overrides", overrides) != overrides:
            raise failure(f"{folder} holds a job of another sweep; give another hydra.sweep.dir")
        words = [text for text in filter_overrides(overrides) if text not in shared]
        name = " ".join([f"job {number}", *words]) + f" in {folder}"
        return Answer(overrides=overrides, cfg=cfg, hydra_cfg=cfg, working_dir=str(folder), task_name=name)

    def run(self, job: "Answer") -> "Answer":
        """Run one job; in the folder of an interrupted sweep, go on with it or take the answer it has given."""
        folder, name = Path(str(job.working_dir)), job.task_name
        if self.stopped is not None:
            job.status, job.return_value = JobStatus.FAILED, failure(f"{name}: not started")
            return job
        if answered(folder):
            print(f"{name}: done before", file=sys.stderr)
            code = 0
        else:
            resumed = can_resume(folder)
            print(f"{name}: {'resumed' if resumed else 'started'}", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "job.json").write_text(json.dumps({"overrides": job.overrides}))
            code = self.execute(self.command(job, resumed), folder)
            (folder / "job.json").write_text(json.dumps({"overrides": job.overrides, "exit": code}))
        result = read_json(folder / "result.json")
        value, wanted = result.get("objective"), job.cfg.get("objective") if job.cfg else None
        if code:
            reason = result.get("error") or f"see {folder / 'output.log' if self.n_jobs > 1 else folder}"
            job.status, job.return_value = JobStatus.FAILED, failure(f"{name} failed with exit code {code}: {reason}")
        elif wanted and value is None:
            job.status, job.return_value = JobStatus.FAILED, failure(f"{name} measured no finite {wanted}")
        else:
            job.status, job.return_value = JobStatus.COMPLETED, value
            end = "done" if value is None else f"{wanted or 'objective'} {value:.6g}"
            print(f"{name}: {end}", file=sys.stderr)
        return job

    def command(self, job: "Answer", resumed: bool = False) -> list[str]:
        """The command line of one job: that of the sweep, with the job's values in place of the sweep's."""
        import __main__

        entry = ["-m", __main__.__spec__.name] if __main__.__spec__ else [os.path.abspath(sys.argv[0])]
        hydra = OmegaConf.to_container(self.config.hydra.overrides.hydra)
        kept = [text for text in hydra if not text.lstrip("+~").startswith(OF_THE_SWEEP)]
        folders = [
            word
            for part in self.hydra_context.config_loader.get_search_path().get_path()
            if part.provider == "command-line"
            for word in ("--config-dir", part.path.removeprefix("file://"))
        ]
        folder = str(job.working_dir).replace('"', '\\"')
        own = ["hydra.mode=RUN", f'hydra.run.dir="{folder}"', *([f'resume="{folder}"'] if resumed else [])]
        name = self.config.hydra.job.config_name
        return [sys.executable, *entry, name, *folders, *(job.overrides or []), *kept, *own]

    def execute(self, command: list[str], folder: Path) -> int:
        """Exit code of the job; of several at a time, each writes its terminal output into its folder."""
        # A job is the first process of its own distributed group, if it makes one.
        ours = {"LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"}
        environment = {key: value for key, value in os.environ.items() if key not in ours}
        environment[PARENT] = str(os.getpid())
        with contextlib.ExitStack() as stack:
            log = stack.enter_context((folder / "output.log").open("w")) if self.n_jobs > 1 else None
            # In a session of its own: Ctrl-C in the terminal reaches a job once, through the sweep.
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            self.running.add(process)
            if self.stopped is not None:  # while it was started
                send_signal(process, self.stopped)
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
    """Whether a run in the folder has a checkpoint; the record of one that has none makes way for a new run."""
    from trimer.locks import FolderLock
    from trimer.run import RunFolder

    run = RunFolder(folder)
    if run.started and run.last_checkpoint() is None:
        FolderLock(folder).require().release()  # it may be about to write one
        (folder / "run.json").unlink()
    return run.started


def answered(folder: Path) -> bool:
    """Whether the folder holds the result of a job that ended well."""
    return read_json(folder / "job.json").get("exit") == 0 and read_json(folder / "result.json").get("status") == "ok"


def failure(sentence: str) -> Exception:
    """What the sweeper raises, unless it may go on after a failure."""
    from trimer.errors import TrimerError

    return TrimerError(sentence)


def read_json(path: Path) -> dict[str, Any]:
    """The file's content, or nothing where a job did not come to write it."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
