"""The folder of a sweep's job, and its command, which a launcher may run on this machine or on another.

A sweep folder holds one folder for each job, named by its number. `job.json` has the overrides of the job and, once it
has ended, its exit code; `result.json` is written by the job itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimer.signals import receive_again

PARENT = "TRIMER_PARENT"  # read by trimer.signals
STOP = "stop"  # file in the folder of a job that asks it to end
STOPPED = 143  # exit code of a command that was ended by SIGTERM

# Overrides that say how a sweep runs, not what its jobs compute.
NOT_OF_THE_JOB = ("n_jobs", "launcher", "hparams_search", "resume")
# Variables of the sweep's process that would change its jobs: a job may start its own distributed group, and several
# jobs are not one run of a W&B agent.
NOT_INHERITED = (
    "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED", "WANDB_RUN_ID",
    "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH",
)  # fmt: skip
# Variables of the sweep's process that its jobs need on another machine.
SENT = ("TRIMER_", "WANDB_", "HYDRA_", "PYTHONPATH", "OMP_NUM_THREADS")


@dataclass
class JobCommand:
    """The command line of one job, as an object that an executor sends to another process.

    Calling it runs the command in the folder `cwd` and returns its exit code. Its output goes to `output.log` in the
    job's folder. When the file `stop` appears there, the command gets SIGTERM, so that it saves and ends; when it is
    not empty, the command gets SIGINT too, and ends at once. In an allocation of several tasks each task calls it once.
    sweep: process id of the sweep, if it runs on the same machine: when that was killed, the command saves and ends.
    """

    words: list[str]
    folder: str
    cwd: str
    environment: dict[str, str]
    sweep: int | None = None
    process: subprocess.Popen | None = dataclasses.field(default=None, repr=False)

    def __call__(self) -> int:
        os.chdir(self.cwd)
        folder = Path(self.folder)
        if (folder / STOP).exists():
            return STOPPED
        rank = int(os.environ.get("SLURM_PROCID") or 0)
        if self._restarted() and rank == 0 and started(folder) and last_checkpoint(folder) is None:
            clear(folder)  # there is nothing to resume: it starts again
        resumes = started(folder) and last_checkpoint(folder) is not None
        has_resume = any(word.startswith("resume=") for word in self.words)
        words = [*self.words, *([resume_override(folder)] if resumes and not has_resume else [])]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"output{f'.{rank}' if rank else ''}.log").open("a") as log:
            environment = job_environment(os.environ | self.environment)
            # In its own session, so that a signal of the terminal reaches a job only once, through the sweep; not under
            # SLURM, which may recognise the processes of a job by their session.
            self.process = subprocess.Popen(
                words,
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=self._prepare_process if os.name == "posix" else None,
                start_new_session="SLURM_PROCID" not in os.environ,
            )
            try:
                # `poll` and not `wait`, whose lock would block `checkpoint`, which runs in a signal handler.
                while (code := self.process.poll()) is None:
                    time.sleep(0.2)
                    if (folder / STOP).exists() or (self.sweep is not None and not is_running(self.sweep)):
                        self._end()
                return code
            except BaseException:
                self._end()
                raise

    def checkpoint(self) -> Any:
        """Called by submitit shortly before the time limit of the job and when it is preempted.

        The job writes a checkpoint and ends, and SLURM queues it again; it then continues in its folder.
        """
        from submitit.helpers import DelayedSubmission

        self._end()
        return DelayedSubmission(dataclasses.replace(self, process=None))

    def _end(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            if is_urgent(Path(self.folder)) and os.name == "posix":
                self.process.send_signal(signal.SIGINT)
                deadline = min(deadline, time.monotonic() + 5)
                while self.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                self.process.kill()

    @staticmethod
    def _restarted() -> bool:
        return int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0

    @staticmethod
    def _prepare_process() -> None:
        """In the new process: signals are received, but for submitit's warning.

        SLURM sends that warning to all processes; only submitit's own may act on it, by `checkpoint`.
        """
        receive_again()
        if "SUBMITIT_EXECUTOR" in os.environ:
            name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)


def is_running(process: int) -> bool:
    """Whether the process of this id has not ended; one that waits for its parent to notice its end has."""
    if os.name == "nt":
        return True  # a look at a process by os.kill would end it
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user, or no /proc
        return True
    return state not in "ZX"


def job_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job that this process starts."""
    kept = {key: value for key, value in environment.items() if key not in NOT_INHERITED}
    return {**kept, PARENT: str(os.getpid())}


def sent_environment() -> dict[str, str]:
    """The variables of this process that its jobs get on another machine."""
    return {key: value for key, value in os.environ.items() if key.startswith(SENT) and key not in NOT_INHERITED}


def request_end(folder: Path, at_once: bool = False) -> None:
    """Ask the job in the folder to save and end, or to end at once."""
    (folder / STOP).write_text("at once" if at_once else "")


def is_urgent(folder: Path) -> bool:
    """Whether the job is asked to end at once."""
    try:
        return bool((folder / STOP).read_text())
    except OSError:
        return False


def earlier_jobs(folder: Path) -> dict[int, list[str]]:
    """number -> overrides of the jobs that the sweep folder holds."""
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    jobs = {number: read_json(folder / str(number) / "job.json").get("overrides") for number in numbers}
    return {number: words for number, words in jobs.items() if words is not None}


def shared_overrides(folder: Path, jobs: Sequence[Sequence[str]]) -> set[str]:
    """The overrides that do not tell jobs apart: all jobs of the sweep folder, old and new, have them."""
    shared = set.intersection(*({*identity(words)} for words in [*jobs, *earlier_jobs(folder).values()]))
    return shared | {word for words in jobs for word in words if word not in identity(words)}


def job_numbers(folder: Path, jobs: Sequence[Sequence[str]]) -> list[int]:
    """The number of each job: that of its earlier folder with the same overrides, otherwise the next free number."""
    earlier: dict[tuple[str, ...], list[int]] = {}
    taken = {int(path.name) for path in folder.iterdir() if path.name.isdigit()}
    for number, words in earlier_jobs(folder).items():
        earlier.setdefault(identity(words), []).append(number)
    numbers, free = [], 0
    for job in jobs:
        if same := earlier.get(identity(job)):
            numbers.append(same.pop(0))
            continue
        while free in taken:
            free += 1
        taken.add(free)
        numbers.append(free)
    return numbers


def identity(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides that decide what a job computes, in alphabetical order."""
    return tuple(sorted(word for word in overrides if word.lstrip("+~").partition("=")[0] not in NOT_OF_THE_JOB))


def resume_override(folder: Path) -> str:
    """`resume="<folder>"`, quoted for Hydra."""
    return f'resume="{quoted(folder)}"'


def quoted(folder: Path) -> str:
    """A path inside double quotes of Hydra's grammar."""
    return str(folder).replace("\\", "\\\\").replace('"', '\\"')


def started(folder: Path) -> bool:
    """Whether the folder holds a run that was started."""
    from trimer.run import RunFolder

    return RunFolder(folder).started


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint from which the run in the folder can be resumed."""
    from trimer.run import RunFolder

    return RunFolder(folder).last_checkpoint()


def can_resume(folder: Path) -> bool:
    """Whether the run in the folder has a checkpoint; a run without one is removed, so that it starts again."""
    from trimer.locks import FolderLock

    if started(folder) and last_checkpoint(folder) is None:
        FolderLock(folder).require().release()  # another process may be about to write one
        clear(folder)
    return started(folder)


def clear(folder: Path) -> None:
    """Remove what an attempt without a checkpoint has left in the folder."""
    from trimer.run import RunFolder

    RunFolder(folder).clear()


def has_result(folder: Path) -> bool:
    """Whether the folder holds the result of a successful job."""
    return read_json(folder / "job.json").get("exit") == 0 and read_json(folder / "result.json").get("status") == "ok"


def read_json(path: Path) -> dict[str, Any]:
    """The content of the file, or an empty dict if it is missing or not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def reason_of(code: int, folder: Path) -> str:
    """Why a job failed: the error that it recorded, the signal that ended it, or where its output is."""
    if error := read_json(folder / "result.json").get("error"):
        return error
    log = folder / "output.log"
    where = f"see {log if log.is_file() else folder}"
    if code < 0:
        name = signal.Signals(-code).name
        memory = " (the memory may have been full)" if name == "SIGKILL" else ""
        return f"ended by {name}{memory}; {where}"
    return where
