"""Launchers of other libraries, each with its local executor: one tiny sweep, which is then started again."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from hydra_plugins.trimer.cluster_launchers import SubmititLauncher, number_of


@pytest.mark.parametrize("launcher", ["submitit_local", "ray", "joblib"])
def test_a_sweep_runs_and_its_finished_jobs_are_skipped(shell, empty_folder, launcher):
    if find_spec(package := launcher.partition("_")[0]) is None:
        pytest.skip(f"{package} is not installed")
    words = ["toy", "train", "-m", f"launcher={launcher}", "seed=13,2", "n_jobs=2", "hydra.sweep.dir=sweep"]
    done = shell(*words)
    assert done.returncode == 1
    assert "job 0 seed=13 in sweep/0 failed with exit code 1: spectra.mgf line 3" in done.stderr
    assert "job 1 seed=2 in sweep/1: objective 4" in done.stderr
    assert "Traceback" not in done.stderr
    assert "no precursor m/z" in (empty_folder / "sweep" / "0" / "output.log").read_text()
    words.remove(f"launcher={launcher}")
    again = shell(*words)  # another launcher continues the sweep
    assert "sweep/1: finished earlier" in again.stderr and "sweep/0: started" in again.stderr


def test_slurm_gets_its_parameters_with_prefix_and_a_task_for_each_device():
    given = {"nodes": 2, "partition": "gpu", "qos": None, "timeout_min": 60}
    launcher = SubmititLauncher(4, "slurm", poll=1, devices=8, **given)
    assert launcher.parameters == {"nodes": 2, "slurm_partition": "gpu", "timeout_min": 60, "tasks_per_node": 8}
    assert "tasks_per_node" not in SubmititLauncher(4, "local", poll=1, devices=8).parameters
    assert [number_of(devices, 3) for devices in (2, "2", [0, 1], "auto", -1)] == [2, 2, 2, 3, 3]
