"""The base of Trimer's launchers: each job of a sweep is a separate command, in its own process and folder.

In one process, jobs share default dtype, seeds, environment and tracker run, and the ranks of a distributed job repeat
the whole sweep. Here a job is the command line of a single run, in the folder `<sweep>/<job number>`. The sweeper gets
the value of `objective` from its `result.json`. Launchers differ in where they run the command.

One process runs a sweep folder. Ctrl-C, SIGTERM and SIGHUP stop the running jobs, which save and end, and no further
job starts. The same command in the same sweep folder skips the jobs that have finished and resumes the others.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from trimer.sweeps.job_folders import (
    STOP,
    JobCommand,
    can_resume,
    has_result,
    job_numbers,
    quoted,
    read_json,
    reason_of,
    resume_override,
    sent_environment,
    shared_overrides,
)
from trimer.verbosity import note

# Settings of the sweep that are not passed to its jobs.
SWEEP_SETTINGS = ("hydra.mode", "hydra.sweep", "hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher")


class JobResult(JobReturn):
    """The result of a job; a failure is raised without Hydra's message, since our sentence names the job.

    varied: the overrides that differ between the jobs of the sweep; none for a single job.
    """

    varied: Sequence[str] = ()

    @property
    def return_value(self) -> Any:
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value

    @property
    def folder(self) -> Path:
        """The folder of the job."""
        return Path(str(self.working_dir))


class JobLauncher(Launcher):
    """A Hydra launcher with one command per job; a failure affects no other job. n_jobs: parallel jobs."""

    package: str | None = None  # that it needs, and the extra of Trimer that installs it
    extra: str | None = None

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.stop_signal: int | None = None
        self.stop_at_once = False  # after a second Ctrl-C
        self._locked = False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    @abstractmethod
    def execute(self, command: JobCommand) -> int:
        """Run the command, wait for its end, and return its exit code; called from several threads."""

    @abstractmethod
    def stop_jobs(self, number: int) -> None:
        """Ask all running jobs to end, on the signal of this number."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        self.lock()
        shared = shared_overrides(self.folder, job_overrides)
        numbers = job_numbers(self.folder, job_overrides)
        # All jobs are composed first, so that a mistake in the last one is reported before the first one trains.
        jobs = [self.prepare(number, list(job), shared) for number, job in zip(numbers, job_overrides, strict=True)]
        with (
            self.stoppable(lambda: f"{count_finished(jobs)} of {len(jobs)} jobs finished"),
            ThreadPoolExecutor(self.n_jobs) as pool,
        ):
            results: list[JobReturn] = list(pool.map(self.run, jobs))
        self.name_all_failures(results)
        return results

    @property
    def folder(self) -> Path:
        """The sweep folder."""
        return Path(str(self.config.hydra.sweep.dir))

    def lock(self) -> None:
        """Lock the sweep folder until this process ends; ConfigError if another process runs the sweep."""
        from trimer.errors import ConfigError
        from trimer.locks import FolderLock

        if self.package and find_spec(self.package) is None:
            raise failure(f"this launcher needs the package {self.package}: pip install 'trimer[{self.extra}]'")
        if self.n_jobs < 1:
            raise ConfigError(f"n_jobs={self.n_jobs} must be 1 or more")
        if not self._locked:
            self.folder.mkdir(parents=True, exist_ok=True)
            atexit.register(FolderLock(self.folder).require().release)
            self._locked = True

    @contextmanager
    def stoppable(self, progress: Callable[[], str]) -> Iterator[None]:
        """Stop the jobs when a signal arrives within the block, and end this command after it.

        progress: how many jobs have finished, in words.
        """
        from trimer.errors import Terminated
        from trimer.signals import FORWARDED, handled

        with handled(FORWARDED, self.stop):
            yield
        if self.stop_signal is not None:
            kind = KeyboardInterrupt if self.stop_signal == signal.SIGINT else Terminated
            raise kind(f"{progress()}; the same command with hydra.sweep.dir={self.folder} continues")

    def stop(self, number: int, frame: Any) -> None:
        """The handler of signals: stop all running jobs; no further job starts."""
        if self.stop_signal is None:
            again = "; press Ctrl-C again to stop them at once" if number == signal.SIGINT else ""
            note(f"\ntrimer: the jobs of this sweep save and end{again}")
        else:
            self.stop_at_once |= number == signal.SIGINT
        self.stop_signal = number
        self.stop_jobs(number)

    def prepare(self, number: int, overrides: list[str], shared: set[str]) -> JobResult:
        """The job's config, folder and name: its number and the overrides that differ between jobs."""
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(cfg):
            cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
        folder = self.folder / str(number)
        words = [text for text in filter_overrides(overrides) if text not in shared]
        name = " ".join([f"job {number}", *words]) + f" in {folder}"
        job = JobResult(overrides=overrides, cfg=cfg, hydra_cfg=cfg, working_dir=str(folder), task_name=name)
        job.varied = words
        return job

    def run(self, job: JobResult) -> JobResult:
        """Run one job; in the folder of an interrupted sweep, resume it or use its earlier result."""
        job.status = JobStatus.FAILED
        if self.stop_signal is not None:
            job.return_value = failure(f"{job.task_name}: not started")
            return job
        if has_result(job.folder):
            return self.with_result(job, 0, earlier=True)
        try:
            code = self.started(job)
        except Exception as error:  # of the executor or the file system: the other jobs continue
            job.return_value = failure(f"{job.task_name} failed: {error or type(error).__name__}")
        else:
            self.with_result(job, code)
        if job.status is JobStatus.FAILED and self.stop_signal is None:
            note(str(job._return_value))
        return job

    def started(self, job: JobResult) -> int:
        """Start or resume the job and wait for its end; returns its exit code."""
        resumed = can_resume(job.folder)
        note(f"{job.task_name}: {'resumed' if resumed else 'started'}")
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / STOP).unlink(missing_ok=True)  # of a sweep that was stopped
        if read_json(job.folder / "result.json").get("status") != "ok":
            (job.folder / "result.json").unlink(missing_ok=True)  # the reason of an earlier failure
        record = {"overrides": job.overrides, "varied": list(job.varied)}
        (job.folder / "job.json").write_text(json.dumps(record))
        words = self.command(job, resumed)
        code = self.execute(JobCommand(words, str(job.folder.absolute()), os.getcwd(), sent_environment()))
        (job.folder / "job.json").write_text(json.dumps({**record, "exit": code}))
        return code

    def with_result(self, job: JobResult, code: int, earlier: bool = False) -> JobResult:
        """The job with the value of its objective, or with the reason why it has none."""
        value = read_json(job.folder / "result.json").get("objective")
        objective = job.cfg.get("objective") if job.cfg else None
        if code:
            reason = reason_of(code, job.folder)
            job.return_value = failure(f"{job.task_name} failed with exit code {code}: {reason}")
        elif objective and value is None:
            job.return_value = failure(f"{job.task_name} has no finite {objective}")
        else:
            job.status, job.return_value = JobStatus.COMPLETED, value
            words = ["finished earlier"] if earlier else []
            words += [] if value is None else [f"{objective or 'objective'} {value:.6g}"]
            note(f"{job.task_name}: {', '.join(words) or 'finished'}")
        return job

    def name_all_failures(self, results: Sequence[JobReturn]) -> None:
        """Let each failed job raise the same error, which names all of them: the sweeper raises the first one only."""
        failed = [result for result in results if result.status is JobStatus.FAILED]
        if len(failed) > 1:
            each = "\n".join(f"  {result._return_value}" for result in failed)
            error = failure(f"{len(failed)} of {len(results)} jobs failed\n{each}")
            for result in failed:
                result.return_value = error

    def command(self, job: JobResult, resumed: bool = False) -> list[str]:
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
        run_overrides = ["hydra.mode=RUN", f'hydra.run.dir="{quoted(job.folder)}"']
        run_overrides += [resume_override(job.folder)] if resumed else []
        name = self.config.hydra.job.config_name
        return [sys.executable, *entry, name, *folders, *(job.overrides or []), *hydra_overrides, *run_overrides]


def count_finished(jobs: Sequence[JobReturn]) -> int:
    """The number of jobs that have ended with a result."""
    return sum(job.status is JobStatus.COMPLETED for job in jobs)


def failure(sentence: str) -> Exception:
    """The error that the sweeper raises, unless it continues after failures."""
    from trimer.errors import TrimerError

    return TrimerError(sentence)
