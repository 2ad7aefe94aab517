"""`launcher=process`: runs the jobs of a sweep as processes of this machine, `n_jobs` in parallel.

Ctrl-C, SIGTERM and SIGHUP are forwarded to the running jobs. Jobs also end when the process of the sweep ends.
"""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore

from hydra_plugins.trimer.job_launcher import JobLauncher
from trimer.sweeps.job_folders import JobCommand, job_environment


@dataclass
class ProcessLauncherConfig:
    """`launcher=process`, the default of `trimer train -m`."""

    _target_: str = "hydra_plugins.trimer.process_launcher.ProcessLauncher"
    n_jobs: int = 1  # parallel jobs


ConfigStore.instance().store(group="hydra/launcher", name="process", node=ProcessLauncherConfig, provider="trimer")


class ProcessLauncher(JobLauncher):
    """A Hydra launcher with one process per job; a crash affects no other job."""

    def __init__(self, n_jobs: int = 1) -> None:
        super().__init__(n_jobs)
        self.running: set[subprocess.Popen] = set()

    def execute(self, command: JobCommand) -> int:
        """Run the command and return its exit code; the output of parallel jobs goes to their folders."""
        environment = job_environment(os.environ)
        with contextlib.ExitStack() as stack:
            path = Path(command.folder) / "output.log"
            log = stack.enter_context(path.open("w")) if self.n_jobs > 1 else None
            # In its own session, so that Ctrl-C in the terminal reaches a job only once, through the sweep.
            process = subprocess.Popen(command.words, env=environment, stdout=log, stderr=log, start_new_session=True)
            self.running.add(process)
            if self.stop_signal is not None:  # the signal came while the job was started
                send_signal(process, self.stop_signal)
            try:
                return process.wait()
            finally:
                self.running.discard(process)

    def stop_jobs(self, number: int) -> None:
        """Forward the signal to all running jobs."""
        for process in list(self.running):
            send_signal(process, number)


def send_signal(process: subprocess.Popen, number: int) -> None:
    """Forward a signal to a job; Windows can only end it."""
    if os.name == "nt":
        process.terminate()
    else:
        process.send_signal(signal.Signals(number))
