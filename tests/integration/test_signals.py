"""How sweeps, jobs and single runs end: signals reach the jobs, and no job outlives its sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A training command that waits for a signal and records which one it received.
WAITING = """
import signal, sys, time, types

def main(cfg):
    from trimer.run import RunFolder
    run = RunFolder(cfg.paths.run).start(cfg)
    def end(number, frame):
        (run.path / "signal").write_text(signal.Signals(number).name)
        sys.exit(3)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    (run.path / "ready").touch()
    time.sleep(60)

sys.modules["trimer.commands.train"] = types.SimpleNamespace(main=main)

if __name__ == "__main__":
    from trimer.cli.main import main as trimer
    sys.exit(trimer())
"""


@pytest.fixture
def started(empty_folder):
    """Start the waiting command and return its process as soon as the named file exists."""
    (empty_folder / "waiting.py").write_text(WAITING)
    path = os.pathsep.join([str(ROOT / "src"), str(empty_folder)])
    processes = []

    def start(ready: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "waiting", "train", *words]
        environment = {**os.environ, "PYTHONPATH": path}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        assert appears(empty_folder / ready)
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def appears(path: Path, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return path.exists()


SWEEP = ("sweep/0/ready", "-m", "seed=1,2", "hydra.sweep.dir=sweep")


@pytest.mark.parametrize(
    ("number", "job_gets", "code"),
    [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "SIGINT", 130), (signal.SIGHUP, "SIGTERM", 143)],
)
def test_a_signal_to_a_sweep_ends_its_job_and_starts_no_further_job(started, empty_folder, number, job_gets, code):
    sweep = started(*SWEEP)
    sweep.send_signal(number)
    error_text = sweep.communicate(timeout=60)[1]
    assert sweep.returncode == code, error_text
    assert (empty_folder / "sweep/0/signal").read_text() == job_gets
    assert not (empty_folder / "sweep/1").exists()
    assert "stopped by" in error_text and "Traceback" not in error_text
    assert "0 of 2 jobs finished; the same command with hydra.sweep.dir=sweep continues" in error_text


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_in_a_terminal_lets_jobs_in_workers_of_a_library_save(empty_folder):
    """The terminal sends SIGINT to the sweep and to all workers of joblib; a job gets one request, by the sweep."""
    import fcntl
    import pty
    import termios

    (empty_folder / "waiting.py").write_text(WAITING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(empty_folder)])}
    master, terminal = pty.openpty()
    sweep = subprocess.Popen(
        [sys.executable, "-m", "waiting", "train", *SWEEP[1:], "launcher=joblib"],
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        assert appears(empty_folder / "sweep/0/ready")
        os.write(master, b"\x03")
        assert sweep.wait(60) == 130
        text = os.read(master, 1 << 16).decode()
    finally:
        sweep.kill()
        os.close(master)
        os.close(terminal)
    assert (empty_folder / "sweep/0/signal").read_text() == "SIGTERM"
    assert json.loads((empty_folder / "sweep/0/job.json").read_text())["exit"] == 3
    assert not (empty_folder / "sweep/1").exists()
    assert "0 of 2 jobs finished; the same command with hydra.sweep.dir=sweep continues" in text
    assert "Traceback" not in text


def test_a_job_ends_with_a_sweep_that_was_killed(started, empty_folder):
    started(*SWEEP).kill()
    assert appears(empty_folder / "sweep/0/signal", 10)
    assert (empty_folder / "sweep/0/signal").read_text() == "SIGTERM"


def test_a_running_sweep_is_not_started_twice(started, shell, empty_folder):
    sweep = started(*SWEEP)
    again = shell("toy", "train", *SWEEP[1:])
    assert again.returncode == 1
    assert f"sweep is in use by process {sweep.pid} since" in again.stderr
    assert sweep.poll() is None and not (empty_folder / "sweep/0/result.json").exists()


def test_a_closed_terminal_ends_a_run_as_sigterm_does(started, empty_folder):
    run = started("run/ready", "hydra.run.dir=run")
    run.send_signal(signal.SIGHUP)
    run.communicate(timeout=60)
    assert (empty_folder / "run/signal").read_text() == "SIGTERM"


def test_a_run_under_nohup_ignores_a_closed_terminal(started, empty_folder):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as with nohup
    try:
        run = started("run/ready", "hydra.run.dir=run")
    finally:
        signal.signal(signal.SIGHUP, before)
    run.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert run.poll() is None and not (empty_folder / "run/signal").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_training_that_waits_for_its_other_processes_ends_at_once(empty_folder, number):
    """PyTorch waits for them in compiled code, in which Python handles no signal."""
    script = """
        import signal
        import torch.distributed as dist
        from trimer import signals
        signals.PATIENCE = 0.2
        signal.signal(signal.SIGTERM, lambda *words: None)
        with signals.ended_while_waiting(2):
            print("waits", flush=True)
            dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=2)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "waits\n"
        time.sleep(1)
        process.send_signal(number)
        _, messages = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (130 if number is signal.SIGINT else 143)
    assert f"stopped by {number.name} while waiting for the other processes" in messages
