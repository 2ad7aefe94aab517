"""Shared by all tests: one thread each, output only in temporary folders, and a toy training command."""

from __future__ import annotations

import copy
import functools
import logging
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: workers of xdist share the cores
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process that a test starts compiles the package again

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Restore the signal handlers of a terminal: background shells and nohup ignore some of them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


# A training command that trains nothing: it ends in the way its name states.
TOY = """
import errno, json, sys, types

def main(cfg):
    from trimer.errors import InputError
    from trimer.run import RunFolder
    run = RunFolder(cfg.paths.run)
    if cfg.get("resume"):
        run.check_changes(cfg)
    run.start(cfg)
    if cfg.name == "bad_input" or cfg.seed == 13:
        raise InputError("spectra.mgf line 3: no precursor m/z; add PEPMASS")
    if cfg.name == "bug":
        raise ValueError("a bug")
    if cfg.name == "full":
        raise OSError(errno.ENOSPC, "No space left on device", str(run.path / "checkpoints" / "last.ckpt"))
    if cfg.name == "stopped":
        raise KeyboardInterrupt
    run.finish({"objective": 2.0 * cfg.seed, "metrics": {"lr": cfg.optimizer.lr}})

sys.modules["trimer.commands.train"] = types.SimpleNamespace(main=main)

if __name__ == "__main__":
    from trimer.cli.main import main as trimer
    sys.exit(trimer())
"""


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TRIMER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _parsed_configs() -> Iterator[None]:
    """Each text of a config file is parsed once a session: parsing takes a sixth of the time to compose a config."""
    parse, parsed = yaml.load, {}

    def load(stream: Any, Loader: Any) -> Any:
        if Loader.__name__ != "OmegaConfLoader" or isinstance(stream, str):
            return parse(stream, Loader)
        text = stream.read()
        if text not in parsed:
            stream.seek(0)
            parsed[text] = parse(stream, Loader)
        return copy.deepcopy(parsed[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "load", load)
        yield


@pytest.fixture(scope="module")
def rough_figures() -> Iterator[None]:
    """Figures are drawn coarsely and without their layout, for tests that train: tests/reporting tests their looks."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def savefig(figure: Figure, *arguments: Any, **settings: Any) -> None:
        figure.set_layout_engine(None)  # a figure with a layout is drawn twice
        save(figure, *arguments, **{"dpi": 40, **settings})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions that are compared with those of another program are in its precision, whatever CPU computes."""
    from trimer.accelerators import cpu_speed

    monkeypatch.setattr(cpu_speed, "faster_precision", functools.cache(lambda: cpu_speed.FP32))


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TRIMER_CONF", raising=False)
    return folder


@pytest.fixture
def trimer(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The command line in this process and an empty folder, with the toy as `train`; returns the exit code."""
    from trimer.cli import main as cli
    from trimer.cli import resolvers

    module = types.ModuleType("toy")
    monkeypatch.setitem(sys.modules, "trimer.commands.train", module)  # undone after the test
    exec(TOY, module.__dict__)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*words: str) -> int:
        resolvers.stamp.cache_clear()
        monkeypatch.setattr(sys, "argv", ["trimer", *words])
        return cli.main()

    yield run
    root.handlers[:], root.level = handlers, level  # Hydra has replaced them


@pytest.fixture
def shell(empty_folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python -m <words>` in a separate process, in a folder that holds only toy.py."""
    (empty_folder / "toy.py").write_text(TOY)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([environment.pop("PYTHONPATH", str(ROOT / "src")), str(empty_folder)])
        return subprocess.run(
            [sys.executable, "-m", *words],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
