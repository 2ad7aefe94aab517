"""The folder of a run: everything needed to know what was done, to go on with it, and to do it again.

    config.yaml      the whole config, resolved
    overrides.yaml   what was said on the command line
    run.json         code version, packages, device, seeds, when it began and when it was resumed
    git.diff         what differed from that version, where the code is a git checkout
    result.json      the outcome: status, metrics, objective, or the error
    checkpoints/     last.ckpt and best.ckpt

No host name is written; paths are as they were given.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from trimer import __version__
from trimer.errors import ConfigError, InputError
from trimer.resolvers import cpu_has_bf16, run_id

PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "numpy", "rdkit", "pyarrow", "torchmetrics", "wandb")


class RunFolder:
    """The folder of one run. Of the processes of a distributed run only the first writes."""

    _begun: ClassVar[set[Path]] = set()

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

    def start(self, cfg: Any, overrides: Sequence[str] | None = None, command: str = "train") -> RunFolder:
        """Write config, overrides and run.json; a resumed folder keeps its first record and notes the resumption.

        overrides: of the command line; by default those that Hydra has read.
        """
        from omegaconf import OmegaConf

        if not first_process():
            return self
        self.path.mkdir(parents=True, exist_ok=True)
        self._begun.add(self.path.resolve())
        resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True)) if OmegaConf.is_config(cfg) else cfg
        write_text(self.path / "config.yaml", OmegaConf.to_yaml(resolved))
        write_text(
            self.path / "overrides.yaml",
            OmegaConf.to_yaml(OmegaConf.create(list(spoken() if overrides is None else overrides))),
        )
        now = {"started": timestamp(), "argv": [Path(sys.argv[0]).name, *sys.argv[1:]], **code_version(self.path)}
        if self.started:
            record = self.record
            record.setdefault("resumed", []).append(now)
        else:
            record = {
                "id": run_id(str(self.path)),
                "command": command,
                "trimer": __version__,
                **now,
                "seeds": {"seed": resolved.get("seed")},
                "python": platform.python_version(),
                "platform": f"{platform.system()} {platform.machine()}",
                "packages": installed(PACKAGES),
                "device": device(),
                "config_dirs": config_dirs(),
            }
        write_text(self.path / "run.json", json.dumps(finite(record), indent=2) + "\n")
        (self.path / "result.json").unlink(missing_ok=True)  # of the part before the resumption
        return self

    def finish(self, result: dict[str, Any]) -> None:
        """Write result.json: status ok, and what is given (metrics, `objective` for a sweep, ...)."""
        self._result({"status": "ok", **result})

    def fail(self, sentence: str) -> None:
        """Write result.json: status failed, and why."""
        self._result({"status": "failed", "error": sentence})

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json, or nothing if the run has not ended."""
        path = self.path / "result.json"
        return read_json(path) if path.is_file() else {}

    def last_checkpoint(self) -> Path | None:
        """The checkpoint to go on from: checkpoints/last.ckpt, or else the newest of the folder."""
        last = self.path / "checkpoints" / "last.ckpt"
        if last.exists():
            return last
        found = sorted(self.path.glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime)
        return found[-1] if found else None

    def check_split(self, data: Any, advice: str) -> None:
        """ConfigError if the rows of a data module are in other parts than they were in this run."""
        path, split = self.path / "split.json", getattr(data, "split", None)
        if split is not None and path.is_file() and read_json(path).get("sha256") != split.manifest["sha256"]:
            raise ConfigError(
                f"{self.path}: the data are split in another way than in this run, since the source or data.split has "
                f"changed, and what was trained on may be in the test part: {advice}"
            )

    def _result(self, result: dict[str, Any]) -> None:
        if not first_process():
            return
        result = {**result, "ended": timestamp()}
        write_text(self.path / "result.json", json.dumps(finite(result), indent=2, default=str) + "\n")


def resume(folder: str, overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Overrides and config folders that go on with the run of `folder`: its own, changed by the new ones.

    Raises InputError if there is no such folder, or if it is not the folder of a training run.
    """
    run = RunFolder(Path(folder).expanduser())
    if not run.path.is_dir():
        raise InputError(f"resume={folder}: there is no such folder")
    if not run.started or not (run.path / "overrides.yaml").is_file():
        raise InputError(
            f"resume={folder} is not a run folder: it has no run.json and overrides.yaml{nearest_run(run.path)}"
        )
    if (command := run.record.get("command")) != "train":
        raise InputError(f"resume={folder} is the folder of trimer {command}; only a training run can be resumed")
    from omegaconf import OmegaConf

    stored = [str(text) for text in OmegaConf.load(run.path / "overrides.yaml")]
    new = [text for text in overrides if not text.startswith(("resume=", "hydra.run.dir="))]
    replaced = {key_of(text) for text in new} | {"resume", "hydra.run.dir"}
    kept = [text for text in stored if key_of(text) not in replaced]
    place = str(run.path).replace("\\", "\\\\").replace('"', '\\"')
    folders = list(config_dirs) or run.record.get("config_dirs", [])
    return [*kept, *new, f'resume="{place}"', f'hydra.run.dir="{place}"'], folders


def nearest_run(folder: Path) -> str:
    """A hint for who names the folder above the run, or one inside it."""
    if (folder.parent / "run.json").is_file():
        return f"; its parent is one: resume={folder.parent}"
    inside = sorted(path.parent for path in folder.glob("*/run.json"))
    return f"; the newest run in it is resume={inside[-1]}" if inside else ""


def key_of(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=1e-3`."""
    return override.lstrip("+~").partition("=")[0]


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


def code_version(folder: Path) -> dict[str, Any]:
    """git sha and dirty flag of the code, or of the working directory where the code is installed; writes git.diff."""
    for place in (Path(__file__).parent, Path.cwd()):
        sha = git(place, "rev-parse", "HEAD")
        # An installed package may lie inside somebody's checkout without being part of it.
        if sha is None or (place != Path.cwd() and git(place, "ls-files", "--error-unmatch", "run.py") is None):
            continue
        diff = git(place, "diff", "HEAD") or ""
        untracked = (git(place, "ls-files", "--others", "--exclude-standard", ":/") or "").split("\n")
        if diff:
            write_text(folder / "git.diff", diff + "\n")
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
    """Processor, its cores and bf16, and the accelerators, without the name of the machine."""
    found: dict[str, Any] = {"cpu": processor(), "cores": len(os.sched_getaffinity(0)), "cpu_bf16": cpu_has_bf16()}
    torch = sys.modules.get("torch")  # a run has imported it; a test of this file need not
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return found


def processor() -> str:
    """Model name of the processor."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        named = None
    return named.group(1) if named else platform.processor() or platform.machine()


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


def write_text(path: Path, text: str) -> None:
    """The whole text or nothing: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def run_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a run, or nothing where the folder holds none."""
    from omegaconf import OmegaConf

    path = folder / "config.yaml"
    return OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
