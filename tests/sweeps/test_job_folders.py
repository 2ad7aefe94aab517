"""The folders of a sweep's jobs: numbers, reasons of failures, and the environment of a job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading

from trimer.sweeps.job_folders import (
    STOP,
    JobCommand,
    is_running,
    job_environment,
    job_numbers,
    reason_of,
    request_end,
    shared_overrides,
)


def test_jobs_keep_their_numbers_and_new_ones_get_free_numbers(tmp_path):
    for number, words in ((0, ["seed=1", "n_jobs=2"]), (3, ["seed=1"]), (5, ["seed=9"])):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "job.json").write_text(json.dumps({"overrides": words}))
    jobs = [["seed=7"], ["seed=1", "n_jobs=8"], ["n_jobs=8", "seed=1"], ["seed=1"], ["seed=9"], ["seed=8"]]
    assert job_numbers(tmp_path, jobs) == [1, 0, 3, 2, 5, 4]


def test_names_of_jobs_have_what_differs_from_the_other_jobs_of_the_folder(tmp_path):
    alone = ["seed=7", "name=x", "launcher=slurm"]
    assert shared_overrides(tmp_path, [alone]) == set(alone)  # nothing differs
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "job.json").write_text(json.dumps({"overrides": ["seed=1", "name=x"]}))
    assert shared_overrides(tmp_path, [alone]) == {"name=x", "launcher=slurm"}
    assert shared_overrides(tmp_path, [["seed=1"], ["seed=2", "n_jobs=2"]]) == {"n_jobs=2"}


def test_a_job_without_a_recorded_error_is_explained_by_its_signal(tmp_path):
    (tmp_path / "output.log").touch()
    assert reason_of(-9, tmp_path) == f"ended by SIGKILL (the memory may have been full); see {tmp_path}/output.log"
    (tmp_path / "result.json").write_text('{"error": "loss is NaN"}')
    assert reason_of(1, tmp_path) == "loss is NaN"


def test_a_job_is_neither_a_rank_nor_a_run_of_an_agent():
    assert set(job_environment({"LOCAL_RANK": "1", "WANDB_RUN_ID": "a", "PATH": "/bin"})) == {"PATH", "TRIMER_PARENT"}


def test_a_file_asks_a_running_command_to_end(tmp_path):
    command = JobCommand(["sleep", "60"], str(tmp_path), os.getcwd(), {})
    threading.Timer(0.3, (tmp_path / STOP).touch).start()
    assert command() == -signal.SIGTERM
    assert command() == 143  # it does not start while the file is there


def test_a_second_ctrl_c_ends_a_command_at_once(tmp_path):
    command = JobCommand(["sh", "-c", "trap '' TERM; sleep 60 & wait; wait"], str(tmp_path), os.getcwd(), {})
    for seconds, at_once in ((0.3, False), (0.6, True)):
        threading.Timer(seconds, request_end, (tmp_path, at_once)).start()
    assert command() in (-signal.SIGINT, 130)


def test_a_command_ends_when_its_sweep_on_the_same_machine_was_killed(tmp_path):
    sweep = subprocess.Popen(["sleep", "60"])
    command = JobCommand(["sleep", "60"], str(tmp_path), os.getcwd(), {}, sweep=sweep.pid)
    threading.Timer(0.5, sweep.kill).start()
    assert command() == -signal.SIGTERM
    assert not is_running(sweep.pid), "it has ended, although nobody waited for it yet"
    sweep.wait()
    assert not is_running(sweep.pid) and is_running(os.getpid())
