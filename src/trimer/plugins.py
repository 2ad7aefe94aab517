"""Python files of the user beside a run: loaded by an explicit switch, and by nothing else.

The switch is `--plugin my_file.py` on the command line, or the environment variable `TRIMER_PLUGINS` (files separated
as in PATH). A plug-in is imported as a module of its file's name: configs name its classes as `my_file.MyClass`. No
YAML file, run folder or checkpoint can load one: they can only say which one they need.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimer.building import allow
from trimer.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)

VARIABLE = "TRIMER_PLUGINS"
FOLDER = "plugins"  # of a run folder, with copies of the files

_loaded: dict[str, Plugin] = {}


@dataclass(frozen=True)
class Plugin:
    """A file that was loaded: where it lies, and the SHA-256 of its content then."""

    path: Path
    sha256: str

    @property
    def module(self) -> str:
        """The name that configs use."""
        return self.path.stem


def named_plugins(paths: Iterable[str]) -> list[Path]:
    """The files of the command line, then those of the environment; ConfigError for one that is no Python file."""
    files: dict[Path, None] = {}
    words = [("--plugin", text) for text in paths]
    words += [(VARIABLE, text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    for switch, text in words:
        path = Path(text).expanduser().resolve()
        if not path.is_file() or path.suffix != ".py" or not path.stem.isidentifier():
            raise ConfigError(f"{switch} {text}: give a Python file, whose name is a word, as my_encoder.py")
        files[path] = None
    return list(files)


@contextmanager
def exported(paths: Iterable[str]) -> Iterator[None]:
    """Let this command, and the processes that it starts, load the files: `load_plugins` reads the environment."""
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
    """Import the files that the environment names."""
    for path in named_plugins(()):
        load_plugin(path)


def load_plugin(path: str | Path) -> Plugin:
    """Import one file, and let configs name its classes and functions.

    ConfigError where its name is that of another module, or where it cannot be imported.
    """
    path = Path(path).expanduser().resolve()
    name, content = path.stem, path.read_bytes()
    plugin = Plugin(path, hashlib.sha256(content).hexdigest())
    if _loaded.get(name) == plugin:
        return plugin
    _check_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--plugin {path}: Python cannot import this file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"--plugin {path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    allow(name)
    _loaded[name] = plugin
    return plugin


def loaded_files() -> list[str]:
    """The files that are loaded, for a process that does the same work."""
    return [str(plugin.path) for plugin in _loaded.values()]


def plugins_of(config: Any) -> list[dict[str, str]]:
    """The loaded plug-ins whose classes a config names, for a checkpoint: file and sha256."""
    modules = {target.partition(".")[0] for target in _targets(config)}
    used = [plugin for name, plugin in sorted(_loaded.items()) if name in modules]
    return [{"file": plugin.path.name, "sha256": plugin.sha256} for plugin in used]


def check_plugins(wanted: Iterable[Mapping[str, str]], config: Any, path: str | Path) -> None:
    """CheckpointError where a config names a class of a plug-in that is not loaded; a warning where it has changed.

    wanted: what `plugins_of` has written into the checkpoint at `path`.
    """
    modules = {target.partition(".")[0] for target in _targets(config)}
    for plugin in wanted:
        name = Path(plugin["file"]).stem
        if name not in modules:
            continue
        if name not in _loaded:
            raise CheckpointError(
                f"{path} needs the plug-in {plugin['file']}: pass it by --plugin {plugin['file']} if you trust it (the "
                f"folder of the run has a copy in {FOLDER}/), or in Python by trimer.load_plugin"
            )
        if _loaded[name].sha256 != plugin["sha256"]:
            log.warning("%s has changed since it trained %s", _loaded[name].path, path)


def keep_copies(folder: Path) -> list[dict[str, str]]:
    """Copy the loaded plug-ins into `plugins/` of a run folder; path, sha256 and the name of the copy of each.

    A resumed run keeps the copies that differ beside each other, named by their content.
    """
    records = []
    for plugin in _loaded.values():
        copy = folder / FOLDER / plugin.path.name
        if copy.is_file() and hashlib.sha256(copy.read_bytes()).hexdigest() != plugin.sha256:
            copy = copy.with_name(f"{plugin.module}.{plugin.sha256[:8]}.py")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(plugin.path, copy)
        records.append({"path": str(plugin.path), "sha256": plugin.sha256, "copy": f"{FOLDER}/{copy.name}"})
    return records


def _check_name(path: Path) -> None:
    """ConfigError where `import <name>` means another module, which the plug-in would hide."""
    name = path.stem
    known = sys.modules.get(name)
    if name in _loaded:
        raise ConfigError(f"--plugin {path}: another plug-in of this name is loaded, {_loaded[name].path}: rename one")
    spec = None if known is not None else importlib.util.find_spec(name)
    origin = getattr(known, "__file__", None) if known is not None else getattr(spec, "origin", None)
    if (known is not None or spec is not None) and not (origin and Path(origin).resolve() == path):
        raise ConfigError(f"--plugin {path}: there is another module {name!r}: rename the file")


def _line(error: Exception, path: Path) -> str:
    """` line 12`, the last line of the file that a traceback names."""
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
