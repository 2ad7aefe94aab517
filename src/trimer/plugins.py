"""Plug-ins: Python files of the user, which are loaded only on explicit request.

A plug-in is requested by `--plugin my_file.py` on the command line or by the environment variable `TRIMER_PLUGINS`
(paths separated as in PATH). It is imported as a module with the name of the file: configs name its classes as
`my_file.MyClass`. YAML files, run folders and checkpoints cannot load plug-ins; they only record which ones they
require.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trimer.building import allow
from trimer.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)

VARIABLE = "TRIMER_PLUGINS"
FOLDER = "plugins"  # subfolder of a run folder with copies of the files

_loaded: dict[str, Plugin] = {}


@dataclass(frozen=True)
class Plugin:
    """A loaded file: its path and the bytes that were executed; the file may change later."""

    path: Path
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the executed bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def module(self) -> str:
        """The name of the module, which configs use."""
        return self.path.stem


def named_plugins(paths: Iterable[str]) -> list[Path]:
    """The files of --plugin, then those of the environment variable; ConfigError if one is not a Python file."""
    files: dict[Path, None] = {}
    requests = [("--plugin", text) for text in paths]
    requests += [(VARIABLE, text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    for option, text in requests:
        path = Path(text).expanduser().resolve()
        if not path.is_file() or path.suffix != ".py" or not path.stem.isidentifier():
            raise ConfigError(
                f"{option} {text}: give an existing Python file with a valid module name, such as my_encoder.py"
            )
        files[path] = None
    return list(files)


@contextmanager
def exported(paths: Iterable[str]) -> Iterator[None]:
    """Export the files in the environment, so that this command and its child processes load them (`load_plugins`)."""
    before = os.environ.get(VARIABLE)
    if files := named_plugins(paths):
        os.environ[VARIABLE] = os.pathsep.join(map(str, files))
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def load_plugins() -> None:
    """Import the files that the environment variable names."""
    for path in named_plugins(()):
        load_plugin(path)


def load_plugin(path: str | Path) -> Plugin:
    """Import a file, and allow its classes and functions in configs.

    A file that was edited since is imported again, as a new module: configs then name its new classes, and objects
    that exist keep the old ones. If this import fails, the old module remains.
    ConfigError if another module has the name of the file, or if the import fails.
    """
    path = Path(path).expanduser().resolve()
    plugin = Plugin(path, path.read_bytes())
    name = plugin.module
    if _loaded.get(name) == plugin:
        return plugin
    _check_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ConfigError(f"--plugin {path}: Python cannot import this file; give a .py file")
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        # The loader would read the file again, or a stale .pyc: the recorded bytes must be those that run.
        exec(compile(plugin.content, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:  # the code of the user may raise anything; one sentence names the file and the line
        sys.modules.pop(name, None)
        if previous is not None:
            sys.modules[name] = previous
        raise ConfigError(f"--plugin {path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    allow(name)
    _loaded[name] = plugin
    return plugin


def loaded_files() -> list[str]:
    """The paths of the loaded files, for worker processes."""
    return [str(plugin.path) for plugin in _loaded.values()]


def plugins_of(config: Any) -> list[dict[str, str]]:
    """File name and SHA-256 of the loaded plug-ins whose classes a config names; stored in checkpoints."""
    modules = {target.partition(".")[0] for target in _targets(config)}
    used = [plugin for name, plugin in sorted(_loaded.items()) if name in modules]
    return [{"file": plugin.path.name, "sha256": plugin.sha256} for plugin in used]


def check_plugins(required: Iterable[Mapping[str, str]], config: Any, path: str | Path) -> None:
    """CheckpointError if a config names a class of a plug-in that is not loaded; a warning if the plug-in has changed.

    required: the plug-ins that the checkpoint at `path` lists (from `plugins_of`).
    """
    modules = {target.partition(".")[0] for target in _targets(config)}
    for plugin in required:
        name = Path(plugin["file"]).stem
        if name not in modules:
            continue
        if name not in _loaded:
            raise CheckpointError(
                f"{path} needs the plug-in {plugin['file']}: if you trust it, pass --plugin {plugin['file']} (the "
                f"run folder has a copy in {FOLDER}/), or call trimer.load_plugin in Python"
            )
        if _loaded[name].sha256 != plugin["sha256"]:
            log.warning("%s has changed since the training of %s", _loaded[name].path, path)


def keep_copies(folder: Path) -> list[dict[str, str]]:
    """Write the code of the loaded plug-ins to `plugins/` of a run folder; returns path, sha256 and copy of each.

    A resumed run keeps different versions of a file, named by their content.
    """
    records = []
    for plugin in _loaded.values():
        copy = folder / FOLDER / plugin.path.name
        if copy.is_file() and hashlib.sha256(copy.read_bytes()).hexdigest() != plugin.sha256:
            copy = copy.with_name(f"{plugin.module}.{plugin.sha256[:8]}.py")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(plugin.content)
        records.append({"path": str(plugin.path), "sha256": plugin.sha256, "copy": f"{FOLDER}/{copy.name}"})
    return records


def _check_name(path: Path) -> None:
    """ConfigError if another module has the name of the plug-in, which would hide it."""
    name = path.stem
    module = sys.modules.get(name)
    if name in _loaded and _loaded[name].path == path:
        return
    if name in _loaded:
        raise ConfigError(
            f"--plugin {path}: another plug-in of this name is loaded, {_loaded[name].path}: rename one of them"
        )
    spec = None if module is not None else importlib.util.find_spec(name)
    origin = getattr(module, "__file__", None) if module is not None else getattr(spec, "origin", None)
    if (module is not None or spec is not None) and not (origin and Path(origin).resolve() == path):
        raise ConfigError(f"--plugin {path}: Python already has a module {name!r}: rename the file")


def _line(error: Exception, path: Path) -> str:
    """` line 12`, the last line of the file in the traceback of an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f" line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" line {lines[-1]}" if lines else ""


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        if isinstance(config.get("_target_"), str):
            yield config["_target_"]
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _targets(value)
