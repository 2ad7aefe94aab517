"""The command line works without the modules and signals that Windows lacks, and imports no tracker before its use."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import trimer
from trimer import locks
from trimer.errors import ConfigError
from trimer.locks import FolderLock

# As on Windows: modules that cannot be imported, signals and functions that do not exist.
WINDOWS = """
import os, signal, sys
for name in ("resource", "fcntl", "termios", "pwd", "grp"):
    sys.modules[name] = None
del signal.SIGHUP
del os.sched_getaffinity
from trimer.cli.main import main
code = main(sys.argv[1:])
print("trackers:", sorted({"wandb", "tensorboard", "torch.utils.tensorboard"} & set(sys.modules)))
sys.exit(code)
"""

# Names that Windows or macOS lacks -> where they are used, each behind a check.
ABSENT = {
    "fcntl": {"locks.py"},
    "resource": {"accelerators/hardware.py"},
    "SIGUSR1": {"callbacks/stopping.py"},  # of a SLURM job
    "sched_getaffinity": {"accelerators/cpu_speed.py"},
    **{name: set() for name in ("pwd", "grp", "termios", "SIGHUP", "SIGUSR2", "SIGKILL", "SIGALRM", "killpg", "fork")},
    "getuid": {"cluster_launchers.py"},  # of a user of SLURM
    **{name: set() for name in ("geteuid", "setsid", "uname", "getloadavg", "sysconf")},
}

SMALL = [
    "data=simulated_proteins", "data.source.proteins=60", "model=esm2_nano", "task=masked_lm", "trainer.max_steps=2",
    "trainer.val_check_interval=2", "trainer.precision=32-true", "test=false", "hydra.run.dir=run",
]  # fmt: skip


@pytest.fixture
def windows(shell, empty_folder):
    (empty_folder / "windows.py").write_text(WINDOWS)
    return lambda *words: shell("windows", *words)


def test_help_and_configs_work_without_unix_modules(windows):
    done = windows("--help")
    assert (done.returncode, done.stderr) == (0, "") and "trimer train" in done.stdout
    assert windows("train", "--cfg", "job").returncode == 0


def test_training_works_without_unix_modules(windows, empty_folder):
    done = windows("train", *SMALL)
    assert done.returncode == 0, done.stderr
    result = json.loads((empty_folder / "run" / "result.json").read_text())
    assert result["status"] == "ok" and result["memory_mb"] is None
    assert not (empty_folder / "run" / ".lock").exists()
    assert "train: step 2/2" in done.stderr
    assert "trackers: []" in done.stdout


def test_names_that_a_system_lacks_are_used_behind_a_check():
    source, places = Path(trimer.__file__).parent, {name: set() for name in ABSENT}
    plugins = source.parent / "hydra_plugins" / "trimer"
    for path in [*source.rglob("*.py"), *plugins.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("os", "signal")
            ):
                names = [node.attr]
            for name in set(names) & places.keys():
                places[name].add(path.relative_to(source if path.is_relative_to(source) else plugins).as_posix())
    assert places == ABSENT


def test_without_fcntl_a_lock_is_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    lock = FolderLock(tmp_path).require()
    assert not FolderLock(tmp_path).acquire()
    with pytest.raises(ConfigError, match=r"in use by process \d+ since .* if that process has ended, delete .*\.lock"):
        FolderLock(tmp_path).require()
    tmp_path.rename(tmp_path.with_name("moved"))
    lock.moved(tmp_path.with_name("moved"))
    lock.release()
    assert list(tmp_path.with_name("moved").iterdir()) == []
    assert FolderLock(tmp_path.with_name("moved")).acquire()
