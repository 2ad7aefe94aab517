"""The environment of a run: all packages, threads, and variables that change results, without secrets."""

from __future__ import annotations

from importlib.metadata import version

import torch

from trimer.reproduction import environment
from trimer.reproduction.environment import PACKAGES_FILE, installed, package_lines, read_packages


def test_all_packages_are_listed_with_their_versions(tmp_path):
    packages = installed()
    assert packages["torch"] == version("torch")
    assert {"hydra-core", "pytest", "numpy", "filelock"} <= set(packages)
    (tmp_path / PACKAGES_FILE).write_text(package_lines(packages))
    assert read_packages(tmp_path, {}) == packages
    assert read_packages(tmp_path / "earlier", {"packages": {"torch": "2.9"}}) == {"torch": "2.9"}


def test_variables_that_change_results_are_recorded_and_secrets_are_not(monkeypatch):
    recorded = {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "1", "PYTHONHASHSEED": "0", "TRIMER_CONF": "mine"}
    others = {
        "TRIMER_API_KEY": "x", "TORCH_AUTH_TOKEN": "x", "WANDB_API_KEY": "x", "HOME": "/home/me",
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/torchinductor_me", "TRIMER_DATA": "/home/me/data", "TRIMER_VERBOSITY": "quiet",
    }  # fmt: skip
    for name, value in (recorded | others).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRIMER_PLUGINS", "x" * 5000)
    found = environment.environment()
    assert recorded.items() <= found.items()
    assert not set(others) & set(found)
    assert len(found["TRIMER_PLUGINS"]) == environment.LONGEST


def test_threads_are_part_of_the_device():
    assert environment.device()["threads"] == torch.get_num_threads()
