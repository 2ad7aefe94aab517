"""`launcher=slurm`, `submitit_local`, `ray` and `joblib`: the jobs of a sweep run elsewhere, each with its command.

The launchers of Hydra's plugins call the training function in a process of theirs, where jobs share state and the ranks
of a distributed job repeat the sweep; they name the number of parallel jobs differently; and the one for Ray pins an
old cloudpickle. Here each job is the same command as with `launcher=process`, `n_jobs` run at a time, and finished jobs
are skipped when the sweep is started again. The jobs share a file system with the sweep.
"""

import dataclasses
import logging
import os
import subprocess
import threading
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from hydra_plugins.trimer.job_launcher import JobLauncher, failure
from trimer.signals import hidden_from_children, hide
from trimer.sweeps.job_folders import JobCommand, request_end

for _name, _class in (
    ("slurm", "SubmititLauncher"),
    ("submitit_local", "SubmititLauncher"),
    ("ray", "RayLauncher"),
    ("joblib", "JoblibLauncher"),
):
    ConfigStore.instance().store(
        group="hydra/launcher",
        name=f"trimer_{_name}",
        node={"_target_": f"hydra_plugins.trimer.cluster_launchers.{_class}"},
        provider="trimer",
    )

# Parameters of submitit for every cluster; the others are those of SLURM, and get the prefix `slurm_`.
COMMON = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
    "not in the queue",
}  # fmt: skip

REQUEUES = "slurm_max_num_timeout"  # a parameter of submitit's constructor


class RemoteLauncher(JobLauncher):
    """Base of launchers whose jobs are commands in processes of another library; they are stopped through a file.

    On this machine they also end when the sweep was killed; jobs of SLURM run to their end.
    """

    on_this_machine = True

    def __init__(self, n_jobs: int) -> None:
        super().__init__(n_jobs)
        self.running: set[Path] = set()  # folders of jobs
        self.starting = threading.Lock()

    def execute(self, command: JobCommand) -> int:
        """Run the command elsewhere, wait for its end, and return its exit code."""
        folder = Path(command.folder)
        self.running.add(folder)
        if self.stop_signal is not None:  # the signal came while the job was started
            request_end(folder, self.stop_at_once)
        if self.on_this_machine:
            command = dataclasses.replace(command, sweep=os.getpid())
        try:
            with hidden_from_children():  # Ctrl-C would end the workers before their jobs have saved
                return self.result(command)
        finally:
            self.running.discard(folder)

    @abstractmethod
    def result(self, command: JobCommand) -> int:
        """The exit code of the command, which is run elsewhere."""

    def stop_jobs(self, number: int) -> None:
        """Ask the running jobs to save and end, and those that wait not to start."""
        for folder in list(self.running):
            request_end(folder, self.stop_at_once)


class Queue:
    """The jobs of this user in the queue of SLURM, asked for at most once in `poll` seconds for all jobs of a sweep.

    Submitit asks `sacct`, which clusters without accounting lack: there a job that was cancelled, or whose node failed,
    would be waited for without an end.
    """

    late = 60.0  # seconds that a job without a result may be out of the queue: it is queued again, or its file is late

    def __init__(self, poll: float):
        self.poll = poll
        self._lock = threading.Lock()
        self._asked = -poll
        self._states: dict[str, str] | None = None
        self._left: dict[str, float] = {}  # job -> when it was first missing

    def end_of(self, job: str) -> str | None:
        """The last known state of a job that has left the queue for good, such as CANCELLED; None while it may end."""
        with self._lock:
            if time.monotonic() - self._asked >= self.poll:
                self._asked, self._states = time.monotonic(), self._ask()
            if self._states is None:  # SLURM does not answer for the moment
                return None
            state = self._states.get(job, "not in the queue")
            if state not in ENDED:
                self._left.pop(job, None)
                return None
            left = self._left.setdefault(job, time.monotonic())
            return state if time.monotonic() - left >= self.late else None

    @staticmethod
    def _ask() -> dict[str, str] | None:
        words = ["squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%A %T"]
        answer = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = [line.split() for line in answer.stdout.splitlines()]
        return None if answer.returncode else {line[0]: line[1] for line in lines if len(line) == 2}


class SubmititLauncher(RemoteLauncher):
    """Submits each job through submitit, to SLURM or to processes of this machine.

    cluster: "slurm" or "local". poll: seconds between two looks at a job. devices: `trainer.devices`; where SLURM
    starts the processes of a distributed job, there is one task for each device. parameters: of submitit, without
    their prefix `slurm_`; null leaves the default. submitit's files are in the folder `submitit` of the sweep.
    """

    package, extra = "submitit", "slurm"

    def __init__(self, n_jobs: int, cluster: str, poll: float, devices: Any, **parameters: Any) -> None:
        super().__init__(n_jobs)
        self.cluster, self.poll = cluster, poll
        self.on_this_machine = cluster != "slurm"
        given = {key: plain(value) for key, value in parameters.items() if value is not None}
        if cluster == "slurm":
            given.setdefault("tasks_per_node", number_of(plain(devices), given.get("gpus_per_node")))
        self.parameters = {key if key in COMMON else f"slurm_{key}": value for key, value in given.items()}
        requeues = self.parameters.pop(REQUEUES, None)
        self.of_executor = {} if requeues is None else {REQUEUES: requeues}
        self.submitted: list[Any] = []
        self.queue = Queue(poll)

    def result(self, command: JobCommand) -> int:
        """Submit the command and wait; the exit code of its first task that failed, or 0."""
        import submitit

        with self.starting:
            folder = self.folder / "submitit"
            executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster, **self.of_executor)
            executor.update_parameters(**self.parameters)
            job = executor.submit(command)
        self.submitted.append(job)
        try:
            while not self.has_ended(job):
                time.sleep(self.poll)
            return next((code for code in job.results() if code), 0)
        finally:
            self.submitted.remove(job)

    def has_ended(self, job: Any) -> bool:
        """True once each task has its result; TrimerError if SLURM ended the job without one."""
        if self.cluster != "slurm":
            return job.done()
        tasks = [job.task(number) for number in range(job.num_tasks)]
        files = os.listdir(job.paths.folder)  # a listing is read anew where a look at one file may be cached (NFS)
        if all(task.paths.result_pickle.name in files for task in tasks):
            return True
        if state := self.queue.end_of(job.job_id):
            raise failure(f"SLURM ended job {job.job_id} ({state}) without a result; see {tasks[0].paths.stderr}")
        return False

    def stop_jobs(self, number: int) -> None:
        """Also cancel the jobs of SLURM, since those in the queue may wait for long."""
        super().stop_jobs(number)
        for job in list(self.submitted) if self.cluster == "slurm" else ():
            job.cancel(check=False)


class RayLauncher(RemoteLauncher):
    """Runs each job as a task of Ray. address: of a running cluster, or null to start one on this machine.

    cpus_per_job, gpus_per_job: what a job reserves; Ray shows it only these GPUs.
    """

    package, extra = "ray", "ray"

    def __init__(self, n_jobs: int, address: str | None, cpus_per_job: float, gpus_per_job: float) -> None:
        super().__init__(n_jobs)
        self.on_this_machine = address is None
        self.address, self.resources = address, {"num_cpus": cpus_per_job, "num_gpus": gpus_per_job}

    def result(self, command: JobCommand) -> int:
        """Run the command as a task and wait for its exit code."""
        import ray

        with self.starting:
            if not ray.is_initialized():
                quiet: dict[str, Any] = {
                    "include_dashboard": False,
                    "log_to_driver": False,
                    "logging_level": logging.ERROR,
                }
                ray.init(address=self.address, **quiet)
        remote: Any = ray.remote
        run = remote(max_retries=0, **self.resources)(run_command)
        return ray.get(run.remote(command))


class JoblibLauncher(RemoteLauncher):
    """Runs each job from a worker process of joblib's pool (loky)."""

    def result(self, command: JobCommand) -> int:
        """Run the command in a worker and wait for its exit code."""
        from joblib.externals.loky import get_reusable_executor

        with self.starting:
            pool = get_reusable_executor(max_workers=self.n_jobs, initializer=hide)  # loky undoes an inherited mask
        return pool.submit(run_command, command).result()


def run_command(command: JobCommand) -> int:
    """Run the command of a job in this process of an executor; returns its exit code."""
    return command()


def plain(value: Any) -> Any:
    """A list or dict of the config as that of Python."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def number_of(devices: Any, otherwise: Any) -> int:
    """The number of devices that `trainer.devices` names; `otherwise`, or 1, where it is "auto"."""
    if isinstance(devices, int) and devices > 0:
        return devices
    if isinstance(devices, str) and devices.isdigit():
        return int(devices)
    return len(devices) if isinstance(devices, list) else int(otherwise or 1)
