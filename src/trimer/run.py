"""The folder of a run: the files that document it and allow to resume or repeat it.

    config.yaml      the complete resolved config of the first start; resuming never changes it
    overrides.yaml   the overrides of the command line
    run.json         code version, device, environment, seeds, data files, start time, each resumption with its changes
    git.diff         uncommitted changes, if the code is a git checkout; git.1.diff for the first resumption
    untracked/       copies of small untracked source files of the checkout
    packages.txt     all installed packages with their versions
    result.json      the outcome: status, metrics, objective, or the error
    plugins/         copies of the Python files that the user loaded with --plugin
    checkpoints/     last.ckpt and best.ckpt
    .lock            the process that currently writes to the folder

The host name is not written. Paths are written as the user gave them.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from trimer import __version__
from trimer.cli.resolvers import run_id
from trimer.errors import ConfigError, InputError
from trimer.files import write_text
from trimer.locks import FolderLock
from trimer.plugins import keep_copies
from trimer.renames import current_config
from trimer.reproduction.code import code_version
from trimer.reproduction.environment import (
    PACKAGES,
    PACKAGES_FILE,
    device,
    environment,
    installed,
    machine,
    package_lines,
)
from trimer.yaml_files import read_yaml


class RunFolder:
    """The folder of one run. Only the first process of a distributed run writes to it."""

    _started_here: ClassVar[set[Path]] = set()
    _locks: ClassVar[dict[Path, FolderLock]] = {}

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def started_here(self) -> bool:
        """Whether this process has started or resumed the run; only then may it write the result."""
        return self.path.resolve() in self._started_here

    @property
    def started(self) -> bool:
        """Whether the folder holds a run that was started, by any process."""
        return (self.path / "run.json").is_file()

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_json(self.path / "run.json")

    @property
    def config(self) -> dict[str, Any]:
        """The current config: that of the first start, with the changes of all resumptions."""
        from trimer.resuming import with_changes

        return with_changes(first_config(self.path), self.record.get("resumed", ()) if self.started else ())

    def lock(self) -> None:
        """Lock the folder until `finish` or `fail`; ConfigError if another process has locked it."""
        if first_process():
            self.path.mkdir(parents=True, exist_ok=True)
            self._locks[self.path.resolve()] = self._locks.get(self.path.resolve(), FolderLock(self.path)).require()

    def unlock(self) -> None:
        """Release the lock of this folder."""
        if lock := self._locks.pop(self.path.resolve(), None):
            lock.release()

    @classmethod
    def unlock_all(cls) -> None:
        """Release the locks of all folders, after a command has failed."""
        while cls._locks:
            cls._locks.popitem()[1].release()

    def check_changes(self, cfg: Any) -> None:
        """ConfigError if the config of a resumption changes a setting that must not change."""
        from trimer.resuming import check_changes

        check_changes(cfg, self.config, self.record.get("trimer"), self.path)

    def start(self, cfg: Any, overrides: Sequence[str] | None = None, command: str = "train") -> RunFolder:
        """Write config, overrides and run.json. In a resumed folder, only add an entry to the history in run.json.

        overrides: of the command line; by default those that Hydra has parsed.
        """
        from omegaconf import OmegaConf

        from trimer.resuming import differences, plain_dict

        if not first_process():
            return self
        self.lock()
        resolved = plain_dict(cfg)
        trainer = resolved.get("trainer") or {}
        override_list = list(command_line_overrides() if overrides is None else overrides)
        now: dict[str, Any] = {"started": timestamp(), "argv": [Path(sys.argv[0]).name, *sys.argv[1:]]}
        if self.started:
            record = self.record
            if record.get("command") != command:
                raise ConfigError(
                    f"{self.path} is the folder of trimer {record.get('command')}: use another, hydra.run.dir=..."
                )
            history = record.setdefault("resumed", [])
            now |= code_version(self.path, f"git.{len(history) + 1}.diff")
            now |= {"plugins": copies} if (copies := keep_copies(self.path)) else {}
            now |= {key: value for key, value in surroundings().items() if record.get(key) != value}
            history.append({**now, "overrides": override_list, "changes": differences(self.config, resolved)})
        else:
            write_text(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved)))
            write_text(self.path / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(override_list)))
            packages, references = installed(), interpolations(cfg)
            write_text(self.path / PACKAGES_FILE, package_lines(packages))
            record = {
                "id": run_id(str(self.path)),
                "command": command,
                "trimer": __version__,
                **now,
                **code_version(self.path),
                "seeds": {
                    "seed": resolved.get("seed"),
                    "keys": [key for key, value in references.items() if value == "${seed}"],
                },
                "choices": config_choices(),
                "interpolations": references,
                **({"precision": str(trainer["precision"])} if "precision" in trainer else {}),
                "packages": {name: packages[name] for name in PACKAGES if name in packages},
                **surroundings(),
                "config_dirs": config_dirs(),
                **({"plugins": copies} if (copies := keep_copies(self.path)) else {}),
            }
        self._write_record(record)
        self._started_here.add(self.path.resolve())
        (self.path / "result.json").unlink(missing_ok=True)  # the result of the run before it was resumed
        return self

    def record_data(self, data: Any, advice: str, config: Mapping[str, Any] | None = None) -> None:
        """Write data files and the name of the prepared data to run.json; ConfigError if a resumed run has others.

        The name is a digest of the content of the source and of the settings of the preparation. config: of the run,
        which names further files and the initial weights.
        """
        from trimer.reproduction.data_files import used_files

        store = getattr(getattr(data, "store", None), "folder", None)
        if store is None or not first_process():
            return
        recorded = self.record.get("data")
        if recorded not in (None, store.name):
            raise ConfigError(
                f"{self.path}: the source of the data has changed since this run was started (the prepared data are "
                f"{store.name}, those of the run {recorded}): {advice}"
            )
        files = {} if config is None else {"files": used_files(data, config)}
        self._write_record({**self.record, "data": store.name, **files})

    def finish(self, result: dict[str, Any]) -> None:
        """Write result.json with status ok and the given result (metrics, `objective` for a sweep, ...)."""
        self._write_result({"status": "ok", **result})

    def fail(self, reason: str, path: Path | None = None) -> None:
        """Write status failed and the reason to result.json, or to `path` instead."""
        self._write_result({"status": "failed", "error": reason}, path)

    @classmethod
    def check_present(cls, path: str | Path) -> None:
        """InputError if the path lies in the folder of a run that this process has started, and the folder is gone."""
        path = Path(path).resolve()
        for folder in cls._started_here & {path, *path.parents} if first_process() else ():
            if not (folder / "run.json").is_file():
                raise InputError(
                    f"the run folder {folder} was deleted or moved during the run, so nothing more can be saved: "
                    "restore the folder and resume the run, or train again"
                )

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json; empty if the run has not ended."""
        path = self.path / "result.json"
        return read_json(path) if path.is_file() else {}

    def last_checkpoint(self) -> Path | None:
        """The checkpoint to resume from: checkpoints/last.ckpt, else the newest other one except best.ckpt.

        best.ckpt holds weights only; to resume a run, the state of the optimizer is needed too.
        """
        last = self.path / "checkpoints" / "last.ckpt"
        if last.exists():
            return last
        by_age = sorted(self.path.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime)
        return next((path for path in reversed(by_age) if path.name != "best.ckpt"), None)

    def clear(self) -> None:
        """Remove what an attempt without a checkpoint has left, so that the run can start again."""
        for name in ("metrics.csv", "checkpoints/best.ckpt", "run.json"):
            (self.path / name).unlink(missing_ok=True)

    def check_split(self, data: Any, advice: str) -> None:
        """ConfigError if the rows of a data module are split differently than in this run."""
        path, split = self.path / "split.json", getattr(data, "split", None)
        if split is not None and path.is_file() and read_json(path).get("sha256") != split.manifest["sha256"]:
            raise ConfigError(
                f"{self.path}: the data are split differently than in this run, because the source or data.split has "
                f"changed; the test split may contain training records: {advice}"
            )

    def _write_record(self, record: dict[str, Any]) -> None:
        write_text(self.path / "run.json", json.dumps(finite(record), indent=2) + "\n")

    def _write_result(self, result: dict[str, Any], path: Path | None = None) -> None:
        if not first_process():
            return
        result = {**result, "ended": timestamp()}
        try:
            if path is None:
                self.check_present(self.path)
            write_text(path or self.path / "result.json", json.dumps(finite(result), indent=2, default=str) + "\n")
        finally:
            self.unlock()


def command_line_overrides() -> list[str]:
    """The overrides of the current command line."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def first_process() -> bool:
    """Whether this process has rank 0 or is the only one.

    `RANK` is set by torchrun. Without it a process is the first if it is the first of its host (`LOCAL_RANK`, absent
    in the process that starts the others) and its host is the first (`NODE_RANK`), or the first task of a SLURM job.
    """
    names = ("RANK",) if os.environ.get("RANK") else ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return all(os.environ.get(name) in (None, "", "0") for name in names)


def config_dirs() -> list[str]:
    """The config folders named on this command line; a resumption uses them again."""
    words = sys.argv[1:]
    folders = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    folders += [value for option, value in pairwise(words) if option in ("--config-dir", "-cd")]
    return [str(Path(folder).absolute()) for folder in folders]


def interpolations(cfg: Any) -> dict[str, str]:
    """The keys of a config whose unresolved value refers to others, such as `${seed}`, with that value."""
    from omegaconf import OmegaConf

    from trimer.resuming import dotted_values, plain_dict

    values = dotted_values(plain_dict(cfg, resolve=False)) if OmegaConf.is_config(cfg) else {}
    return {key: value for key, value in values.items() if isinstance(value, str) and "${" in value}


def config_choices() -> dict[str, str]:
    """The choice of each config group of this command line."""
    from hydra.core.hydra_config import HydraConfig

    choices = dict(HydraConfig.get().runtime.choices) if HydraConfig.initialized() else {}
    return {group: str(choice) for group, choice in choices.items() if not group.startswith("hydra") and choice}


def surroundings() -> dict[str, Any]:
    """Python, operating system, device and environment variables of this process."""
    return {**machine(), "device": device(), "environment": environment()}


def timestamp() -> str:
    """The current time in UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def finite(value: Any) -> Any:
    """The value as JSON can hold it: NumPy and PyTorch numbers as Python numbers, NaN and infinities as None."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file; InputError if it is not JSON."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): restore the file from a copy") from error


def first_config(folder: Path) -> dict[str, Any]:
    """The resolved config of the first start of a run, empty if the folder holds none."""
    path = folder / "config.yaml"
    return current_config(read_yaml(path) or {}) if path.is_file() else {}


def run_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run with the changes of its resumptions, empty if the folder holds none."""
    return RunFolder(folder).config


def model_name(run: Path, checkpoint: Path) -> str:
    """The name of the model in tables: name and seed of the run, or the file name of a checkpoint outside a run."""
    config = run_config(run)
    if "name" in config:
        return f"{config['name']}, seed {config.get('seed', 0)}"
    return checkpoint.name if checkpoint.is_dir() else checkpoint.stem
