"""Launchers of other libraries, each with its local executor: one tiny sweep, which is then started again."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec

import pytest

from hydra_plugins.trimer.cluster_launchers import Queue, SubmititLauncher, number_of
from trimer.errors import TrimerError


@pytest.mark.parametrize("launcher", ["submitit_local", "ray", "joblib"])
def test_a_sweep_runs_and_its_finished_jobs_are_skipped(shell, empty_folder, launcher):
    if find_spec(package := launcher.partition("_")[0]) is None:
        pytest.skip(f"{package} is not installed")
    words = ["toy", "train", "-m", f"launcher={launcher}", "seed=13,2", "n_jobs=2", "hydra.sweep.dir=sweep"]
    done = shell(*words)
    if "raylet failed to startup" in done.stderr:
        pytest.skip("Ray did not start within 30 s on this machine")
    assert done.returncode == 1
    assert "job 0 seed=13 in sweep/0 failed with exit code 1: spectra.mgf line 3" in done.stderr
    assert "job 1 seed=2 in sweep/1: objective 4" in done.stderr
    assert "Traceback" not in done.stderr
    assert "no precursor m/z" in (empty_folder / "sweep" / "0" / "output.log").read_text()
    words.remove(f"launcher={launcher}")
    again = shell(*words)  # another launcher continues the sweep
    assert "sweep/1: finished earlier" in again.stderr and "sweep/0: started" in again.stderr


# Commands of SLURM that run a job of one task at once, on this machine.
FAKE_SLURM = {
    "sbatch": """
import os, subprocess, sys
slurm = {"JOB_ID": "7", "NTASKS": "1", "JOB_NUM_NODES": "1", "NODEID": "0", "PROCID": "0", "LOCALID": "0"}
environment = os.environ | {f"SLURM_{name}": value for name, value in slurm.items()}
with open("sbatch.log", "a") as log:
    log.write(open(sys.argv[-1]).read())
    subprocess.Popen(["bash", sys.argv[-1]], env=environment | {"SCRIPT": sys.argv[-1]}, stdout=log, stderr=log)
print("Submitted batch job 7")
""",
    "srun": """
import os, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    del words[: 1 if words[0] == "--unbuffered" else 2]
os.execvp(words[0], words)
""",
    "scontrol": """
import os, subprocess, sys
assert sys.argv[1:] == ["requeue", "7"]
with open("sbatch.log", "a") as log:
    environment = os.environ | {"SLURM_RESTART_COUNT": "1"}
    subprocess.Popen(["bash", os.environ["SCRIPT"]], env=environment, stdout=log, stderr=log)
""",
    "squeue": "print('7 RUNNING')",
}

# A training that SLURM warns of the time limit as soon as it runs; when it is resumed, it ends.
WARNED = """
import os, signal, sys, time, types

def main(cfg):
    from trimer.run import RunFolder
    run = RunFolder(cfg.paths.run).start(cfg)
    if cfg.resume:
        run.finish({"objective": 4.0})
        return
    def save(number, frame):
        (run.path / "checkpoints").mkdir()
        (run.path / "checkpoints" / "last.ckpt").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    for process in (os.getpid(), os.getppid()):  # SLURM warns the job and submitit's process
        os.kill(process, signal.SIGUSR2)
    time.sleep(60)

sys.modules["trimer.commands.train"] = types.SimpleNamespace(main=main)

if __name__ == "__main__":
    from trimer.cli.main import main as trimer
    sys.exit(trimer())
"""


@pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed")
def test_a_job_of_slurm_saves_at_its_time_limit_and_continues(shell, empty_folder):
    for name, text in FAKE_SLURM.items():
        (empty_folder / "bin").mkdir(exist_ok=True)
        (empty_folder / "bin" / name).write_text(f"#!{sys.executable} -S\n{text}")
        (empty_folder / "bin" / name).chmod(0o755)
    (empty_folder / "warned.py").write_text(WARNED)
    words = ["launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.poll=0.1", "hydra.launcher.setup=[ls]"]
    path = os.pathsep.join([str(empty_folder / "bin"), os.environ["PATH"]])
    done = shell("warned", "train", "-m", "seed=2", "name=x", "hydra.sweep.dir=sweep", *words, PATH=path)
    script = (empty_folder / "sbatch.log").read_text()
    assert done.returncode == 0, done.stderr + script
    assert "job 0 in sweep/0: objective 4" in done.stderr
    assert len(json.loads((empty_folder / "sweep" / "0" / "run.json").read_text())["resumed"]) == 1
    options = ("partition=gpu", "job-name=x", "cpus-per-task=8", "ntasks-per-node=1", "time=1440", "signal=USR2@300")
    assert [option for option in options if f"#SBATCH --{option}" not in script] == []


def test_a_job_that_leaves_the_queue_of_slurm_without_a_result_has_ended(tmp_path, monkeypatch):
    command = tmp_path / "squeue"
    command.write_text('#!/bin/sh\necho "$@" >> "$0.log"\ncat "$0.txt"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def states(text: str) -> list[str | None]:
        (tmp_path / "squeue.txt").write_text(text)
        return [queue.end_of(job) for job in "123"]

    queue = Queue(poll=0)
    queue.late = 0
    assert states("1 RUNNING\n2 PENDING\n3 COMPLETING\n") == [None, None, None]
    assert states("1 CANCELLED\n2 NODE_FAIL\n") == ["CANCELLED", "NODE_FAIL", "not in the queue"]
    queue.late = 60
    assert states("1 REQUEUED\n2 NODE_FAIL\n") == [None, None, None]  # 2 and 3 may be queued again
    command.write_text("#!/bin/sh\nexit 1\n")
    queue.late = 0
    assert states("") == [None, None, None]  # SLURM does not answer
    queue = Queue(poll=60)
    command.write_text('#!/bin/sh\necho x >> "$0.log"\n')
    states("")
    assert (tmp_path / "squeue.log").read_text().splitlines().count("x") == 1  # one question for all jobs


def test_a_missing_package_is_named():
    launcher = SubmititLauncher(1, "slurm", poll=1, devices=1)
    launcher.package = "no_such_package"
    with pytest.raises(TrimerError, match=r"needs the package no_such_package: pip install 'trimer\[slurm\]'"):
        launcher.lock()


def test_slurm_gets_its_parameters_with_prefix_and_a_task_for_each_device():
    given = {"nodes": 2, "partition": "gpu", "qos": None, "timeout_min": 60, "max_num_timeout": 5}
    launcher = SubmititLauncher(4, "slurm", poll=1, devices=8, **given)
    assert launcher.parameters == {"nodes": 2, "slurm_partition": "gpu", "timeout_min": 60, "tasks_per_node": 8}
    assert launcher.of_executor == {"slurm_max_num_timeout": 5}
    assert "tasks_per_node" not in SubmititLauncher(4, "local", poll=1, devices=8).parameters
    assert [number_of(devices, 3) for devices in (2, "2", [0, 1], "auto", -1)] == [2, 2, 2, 3, 3]
