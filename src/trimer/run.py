"""The folder of a run: everything needed to know what was done, to resume it, and to do it again.

    config.yaml      the whole config with which the run began, resolved; a resumption never changes it
    overrides.yaml   the overrides of its command line
    run.json         code version, packages, device, seeds, data, when it began, and each resumption with its changes
    git.diff         what differed from that version, where the code is a git checkout; git.1.diff for a resumption
    result.json      the outcome: status, metrics, objective, or the error
    plugins/         copies of the Python files of the user that were loaded by --plugin
    checkpoints/     last.ckpt and best.ckpt
    .lock            the process that writes here, while it does

No host name is written; paths are as they were given.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from trimer import __version__
from trimer.accelerators.cpu_speed import cores, processor, speeds
from trimer.cli.resolvers import run_id
from trimer.errors import ConfigError, InputError
from trimer.files import write_text
from trimer.locks import FolderLock
from trimer.plugins import keep_copies
from trimer.renames import current_config

PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "numpy", "rdkit", "pyarrow", "torchmetrics", "wandb")


class RunFolder:
    """The folder of one run. Of the processes of a distributed run only the first writes."""

    _begun: ClassVar[set[Path]] = set()
    _locks: ClassVar[dict[Path, FolderLock]] = {}

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def begun(self) -> bool:
        """Whether this process has begun, or gone on with, the run; before that its result is not to be touched."""
        return self.path.resolve() in self._begun

    @property
    def started(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / "run.json").is_file()

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_json(self.path / "run.json")

    @property
    def config(self) -> dict[str, Any]:
        """The config that is in force: the one the run began with, and the changes of its resumptions."""
        from trimer.resuming import applied

        return applied(first_config(self.path), self.record.get("resumed", ()) if self.started else ())

    def lock(self) -> None:
        """Keep other processes out until `finish` or `fail`; ConfigError if one writes here already."""
        if first_process():
            self.path.mkdir(parents=True, exist_ok=True)
            self._locks[self.path.resolve()] = self._locks.get(self.path.resolve(), FolderLock(self.path)).require()

    def unlock(self) -> None:
        """Let other processes write here."""
        if lock := self._locks.pop(self.path.resolve(), None):
            lock.release()

    @classmethod
    def unlock_all(cls) -> None:
        """Give back what a command that was refused has locked."""
        while cls._locks:
            cls._locks.popitem()[1].release()

    def check_changes(self, cfg: Any) -> None:
        """ConfigError where the config of a resumption differs from the run's in more than a resumption may change."""
        from trimer.resuming import check_changes

        check_changes(cfg, self.config, self.record.get("trimer"), self.path)

    def start(self, cfg: Any, overrides: Sequence[str] | None = None, command: str = "train") -> RunFolder:
        """Write config, overrides and run.json; a resumed folder keeps these and its history gets one more entry.

        overrides: of the command line; by default those that Hydra has read.
        """
        from omegaconf import OmegaConf

        from trimer.resuming import differences

        if not first_process():
            return self
        self.lock()
        resolved = OmegaConf.to_container(cfg, resolve=True)
        words = list(spoken() if overrides is None else overrides)
        now: dict[str, Any] = {"started": timestamp(), "argv": [Path(sys.argv[0]).name, *sys.argv[1:]]}
        if self.started:
            record = self.record
            if record.get("command") != command:
                raise ConfigError(
                    f"{self.path} is the folder of trimer {record.get('command')}: name another one, hydra.run.dir=..."
                )
            history = record.setdefault("resumed", [])
            now |= code_version(self.path, f"git.{len(history) + 1}.diff")
            now |= {"plugins": kept} if (kept := keep_copies(self.path)) else {}
            history.append({**now, "overrides": words, "changes": differences(self.config, resolved)})
        else:
            write_text(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved)))
            write_text(self.path / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(words)))
            record = {
                "id": run_id(str(self.path)),
                "command": command,
                "trimer": __version__,
                **now,
                **code_version(self.path),
                "seeds": {"seed": resolved.get("seed"), "keys": following(cfg, "${seed}")},
                "python": platform.python_version(),
                "platform": f"{platform.system()} {platform.machine()}",
                "packages": installed(PACKAGES),
                "device": device(),
                "config_dirs": config_dirs(),
                **({"plugins": kept} if (kept := keep_copies(self.path)) else {}),
            }
        self._record(record)
        self._begun.add(self.path.resolve())
        (self.path / "result.json").unlink(missing_ok=True)  # of the part before the resumption
        return self

    def keep_data(self, data: Any, advice: str) -> None:
        """Note in run.json which prepared data the run has; ConfigError if a resumption has other ones.

        Their name is a digest of the content of the source and of the settings that shape them.
        """
        store = getattr(getattr(data, "store", None), "folder", None)
        if store is None or not first_process():
            return
        known = self.record.get("data")
        if known not in (None, store.name):
            raise ConfigError(
                f"{self.path}: the data are not those of this run ({store.name}, the run has {known}), since the "
                f"source has changed: {advice}"
            )
        self._record({**self.record, "data": store.name})

    def finish(self, result: dict[str, Any]) -> None:
        """Write result.json: status ok, and what is given (metrics, `objective` for a sweep, ...)."""
        self._result({"status": "ok", **result})

    def fail(self, sentence: str, path: Path | None = None) -> None:
        """Write result.json, or the file that is given in its place: status failed, and why."""
        self._result({"status": "failed", "error": sentence}, path)

    @classmethod
    def check_present(cls, path: str | Path) -> None:
        """InputError where a path lies in the folder of a run that this process has begun, and that is gone."""
        path = Path(path).resolve()
        for folder in cls._begun & {path, *path.parents} if first_process() else ():
            if not (folder / "run.json").is_file():
                raise InputError(
                    f"the run folder {folder} was deleted or moved while its run was going, so nothing more can be "
                    "saved: put it back and resume it, or train again"
                )

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json, or nothing if the run has not ended."""
        path = self.path / "result.json"
        return read_json(path) if path.is_file() else {}

    def last_checkpoint(self) -> Path | None:
        """The checkpoint to resume from: checkpoints/last.ckpt, or else the newest other one, but for best.ckpt.

        That one holds weights only, and a run that is resumed needs the state of the optimizer too.
        """
        last = self.path / "checkpoints" / "last.ckpt"
        if last.exists():
            return last
        found = sorted(self.path.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime)
        return next((path for path in reversed(found) if path.name != "best.ckpt"), None)

    def check_split(self, data: Any, advice: str) -> None:
        """ConfigError if the rows of a data module are in other parts than they were in this run."""
        path, split = self.path / "split.json", getattr(data, "split", None)
        if split is not None and path.is_file() and read_json(path).get("sha256") != split.manifest["sha256"]:
            raise ConfigError(
                f"{self.path}: the data are split in another way than in this run, since the source or data.split has "
                f"changed, and what was trained on may be in the test part: {advice}"
            )

    def _record(self, record: dict[str, Any]) -> None:
        write_text(self.path / "run.json", json.dumps(finite(record), indent=2) + "\n")

    def _result(self, result: dict[str, Any], path: Path | None = None) -> None:
        if not first_process():
            return
        result = {**result, "ended": timestamp()}
        try:
            if path is None:
                self.check_present(self.path)
            write_text(path or self.path / "result.json", json.dumps(finite(result), indent=2, default=str) + "\n")
        finally:
            self.unlock()


def spoken() -> list[str]:
    """The overrides of the command line that is running."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def first_process() -> bool:
    """Whether this is rank 0, or the only process."""
    ranks = [os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if os.environ.get(name)]
    return not ranks or ranks[0] == "0"


def config_dirs() -> list[str]:
    """The user's config folders of this command line, for its resumption."""
    words = sys.argv[1:]
    named = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    named += [after for word, after in pairwise(words) if word in ("--config-dir", "-cd")]
    return [str(Path(folder).absolute()) for folder in named]


def following(cfg: Any, reference: str) -> list[str]:
    """The keys of a config whose value is an interpolation such as `${seed}`, so that they change with that key."""
    from omegaconf import OmegaConf

    from trimer.resuming import flat

    values = flat(OmegaConf.to_container(cfg, resolve=False)) if OmegaConf.is_config(cfg) else {}
    return [key for key, value in values.items() if value == reference]


def code_version(folder: Path, diff_name: str = "git.diff") -> dict[str, Any]:
    """git sha and dirty flag of the code, or of the working directory where the code is installed; writes the diff."""
    for place in (Path(__file__).parent, Path.cwd()):
        sha = git(place, "rev-parse", "HEAD")
        # An installed package may lie inside somebody's checkout without being part of it.
        if sha is None or (place != Path.cwd() and git(place, "ls-files", "--error-unmatch", "run.py") is None):
            continue
        diff = git(place, "diff", "HEAD") or ""
        untracked = (git(place, "ls-files", "--others", "--exclude-standard", ":/") or "").split("\n")
        if diff:
            write_text(folder / diff_name, diff + "\n")
        return {"git": {"sha": sha, "dirty": bool(diff), "untracked": len([name for name in untracked if name])}}
    return {"git": None}


def git(folder: Path, *words: str) -> str | None:
    """What git says in that folder, or None where there is no git or no checkout."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip("\n")


def device() -> dict[str, Any]:
    """Processor, its cores, how fast it multiplies where that was measured, and the accelerators.

    The name of the machine is not among it.
    """
    found: dict[str, Any] = {"cpu": processor(), "cores": cores()}
    if speeds.cache_info().currsize:
        found["cpu_gflops"] = speeds()
    torch = sys.modules.get("torch")  # a run has imported it; a test of this file need not
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return found


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def timestamp() -> str:
    """Now, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def finite(value: Any) -> Any:
    """Plain values that JSON has: numbers of numpy and torch as numbers, NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """The file as a dict; InputError where it is not JSON."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def first_config(folder: Path) -> dict[str, Any]:
    """The resolved config with which a run began, or nothing where the folder holds none."""
    from omegaconf import OmegaConf

    path = folder / "config.yaml"
    return current_config(OmegaConf.to_container(OmegaConf.load(path))) if path.is_file() else {}


def run_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run with the changes of its resumptions, or nothing where the folder holds none."""
    return RunFolder(folder).config
