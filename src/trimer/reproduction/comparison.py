"""Two runs side by side: config, overrides, code, data, packages, device and results."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimer.reproduction.environment import read_packages
from trimer.reproduction.results import Metric, final_metrics, first_difference, weights_of
from trimer.reproduction.start_config import stored_overrides
from trimer.resuming import dotted_values, key_of
from trimer.run import RunFolder, read_json

SECTIONS = ("config", "overrides", "code", "data", "packages", "device", "results")
# Keys of the config that name the run itself.
OF_THE_RUN = ("paths.run", "resume", "from_run", "hydra.run.dir", "logger.wandb.id")


@dataclass(frozen=True)
class Row:
    """A value of two runs as texts, None where a run lacks it."""

    section: str
    key: str
    left: str | None
    right: str | None

    @property
    def equal(self) -> bool:
        return self.left == self.right


def compare(left: RunFolder, right: RunFolder, weights: bool = True) -> list[Row]:
    """All values of two runs in the order of SECTIONS. weights: also hash the weights of their checkpoints."""
    pairs: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        "config": (config_of(left), config_of(right)),
        "overrides": (overrides_of(left), overrides_of(right)),
        "code": (code_of(left), code_of(right)),
        "data": (data_of(left), data_of(right)),
        "packages": (read_packages(left.path, left.record), read_packages(right.path, right.record)),
        "device": (device_of(left.record), device_of(right.record)),
    }
    rows = [row for section, (first, second) in pairs.items() for row in paired(section, first, second)]
    return [*rows, *results_of(left, right, weights)]


def paired(section: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Row]:
    """A row for each key of either side, those of one group of the config together."""
    keys = {**first, **second}
    groups = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    for key in sorted(keys, key=lambda key: groups.index(key.partition(".")[0])) if section == "config" else keys:
        yield Row(section, key, first.get(key), second.get(key))


def config_of(run: RunFolder) -> dict[str, str]:
    """The current resolved config by dotted keys; the run folder itself is `<run>`."""
    config = run.config
    folder = str((config.get("paths") or {}).get("run") or run.path)
    values = {key: value for key, value in dotted_values(config).items() if key not in OF_THE_RUN}
    return {key: text(value).replace(folder, "<run>") for key, value in values.items()}


def overrides_of(run: RunFolder) -> dict[str, str]:
    """The overrides of the command line by key, those of resumptions too."""
    starts = [stored_overrides(run), *(entry.get("overrides") or [] for entry in run.record.get("resumed", ()))]
    words = [word for start in starts for word in start if key_of(word) not in OF_THE_RUN]
    return {key_of(word): word.partition("=")[2] if "=" in word else word for word in words}


def code_of(run: RunFolder) -> dict[str, str]:
    """Version of Trimer, commits, uncommitted changes, untracked source files and plug-ins; hashes are shortened."""
    record = run.record
    code = {"trimer": str(record.get("trimer"))}
    for name, diff in (("git", "git.diff"), ("project", "project.diff")):
        if not (checkout := record.get(name)):
            continue
        code[name] = str(checkout.get("sha"))[:12]
        code[diff] = changes_in(run.path / diff)
        for file in checkout.get("untracked_files") or ():
            if "sha256" in file:
                code[f"{name}, untracked {file['path']}"] = file["sha256"][:12]
    for plugin in record.get("plugins", ()):
        code[f"plug-in {Path(plugin['path']).name}"] = plugin["sha256"][:12]
    return code


def changes_in(path: Path) -> str:
    """`2 files, 3f2a...`: the number of files of a diff and its hash."""
    if not path.is_file():
        return "no changes"
    content = path.read_bytes()
    files = content.count(b"\ndiff --git ") + content.startswith(b"diff --git ")
    return f"{files} changed file{'s' * (files != 1)}, {hashlib.sha256(content).hexdigest()[:12]}"


def data_of(run: RunFolder) -> dict[str, str]:
    """The prepared data, the files with bytes and hash, the split, and the number of records."""
    record = run.record
    data = {"prepared data": record["data"]} if record.get("data") else {}
    for file in record.get("files") or ():
        data[file["path"]] = f"{file['bytes']:,} bytes, {file['sha256'][:12]}"
    split, drops = (run.path / name for name in ("split.json", "drops.json"))
    if split.is_file():
        manifest = read_json(split)
        data["split"] = str(manifest.get("sha256"))[:12]
        data |= {f"rows of {name}": f"{rows:,}" for name, rows in (manifest.get("sizes") or {}).items()}
    if drops.is_file():
        report = read_json(drops)
        data |= {f"records {key}": f"{report[name]:,}" for key, name in (("read", "records"), ("left", "left"))}
    return data


def device_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Device, Python, operating system and environment variables; the measured speed of the CPU is left out."""
    facts = {key: value for key, value in (record.get("device") or {}).items() if key != "cpu_gflops"}
    device = {key: text(value) for key, value in facts.items()}
    device |= {key: str(record[key]) for key in ("python", "platform") if record.get(key)}
    return device | dict(record.get("environment") or {})


def results_of(left: RunFolder, right: RunFolder, weights: bool) -> Iterator[Row]:
    """Status, cost, final metrics with their difference, the course of training, and the weights."""
    first, second = left.result, right.result
    for key in ("status", "error", "steps", "real_tokens", "stopped_early", "seconds", "memory_mb"):
        values = [None if result.get(key) is None else text(result[key]) for result in (first, second)]
        if any(values):
            yield Row("results", key, values[0], values[1])
    for metric in final_metrics(left, right):
        yield metric_row(metric)
    if (place := first_difference(left.path, right.path)) is not None:
        yield Row("results", "metrics.csv", None, f"differs {place}")
    if weights:
        hashes = [{name: str(digest) for name, digest in weights_of(run).items()} for run in (left, right)]
        yield from (Row("results", f"weights, {row.key}", row.left, row.right) for row in paired("", *hashes))


def metric_row(metric: Metric) -> Row:
    """A metric of two runs; on the right with the difference to the left."""
    left, right = (None if value is None else text(value) for value in (metric.left, metric.right))
    if metric.left is not None and metric.right is not None and not metric.equal:
        difference = metric.right - metric.left
        right = f"{right} ({difference:+.3g})" if math.isfinite(difference) else right
        left = text(metric.left)
        if left == text(metric.right):  # they differ beyond the digits shown
            left, right = repr(metric.left), f"{metric.right!r} ({difference:+.3g})"
    return Row("results", metric.name, left, right)


def text(value: Any) -> str:
    """A value as text: numbers with six digits, null for None."""
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
