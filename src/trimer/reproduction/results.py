"""The results of two runs side by side: final metrics, the test table, the course of training, and the weights."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimer.errors import CheckpointError
from trimer.run import RunFolder

# Values that a clock or the memory of the machine determines.
MEASURED = re.compile(r"(^|.*[/_ ])(per_second|mfu|seconds|memory_mb)$")
# Intervals and p-values are shown; the metric itself is what must agree.
STATISTIC = re.compile(r".*(_std_error|_ci95_low|_ci95_high|_p)$")
SMALLEST = 1e-9  # a difference below is none: metrics near 0 have no relative difference
CHECKPOINTS = ("last.ckpt", "best.ckpt")


@dataclass(frozen=True)
class Metric:
    """A final metric of two runs; None where a run lacks it, NaN where it is undefined."""

    name: str
    left: float | None
    right: float | None

    @property
    def equal(self) -> bool:
        """Whether both values are the same number, or both undefined."""
        return self.left == self.right or (_undefined(self.left) and _undefined(self.right))

    @property
    def difference(self) -> float:
        """The difference relative to the larger value: 0 if equal, infinite if only one run has the metric."""
        if self.equal:
            return 0.0
        if self.left is None or self.right is None or _undefined(self.left) or _undefined(self.right):
            return math.inf
        absolute = abs(self.left - self.right)
        return 0.0 if absolute < SMALLEST else absolute / max(abs(self.left), abs(self.right))


def _undefined(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def final_metrics(left: RunFolder, right: RunFolder) -> list[Metric]:
    """The metrics of result.json and of the test table (`table: <method>: <metric>`), without times and memory."""
    first, second = values_of(left), values_of(right)
    return [Metric(name, first.get(name), second.get(name)) for name in {**first, **second}]


def values_of(run: RunFolder) -> dict[str, float]:
    """The final metrics of a run by name; undefined ones are NaN."""
    values = {name: _number(value) for name, value in (run.result.get("metrics") or {}).items()}
    for row in table_rows(run.path):
        # The row of the model has the name and the seed of the run.
        method = "model" if row.get("kind") == "method" else row.get("method")
        values |= {f"table: {method}: {name}": _number(value) for name, value in (row.get("values") or {}).items()}
    return {name: value for name, value in values.items() if not MEASURED.match(name)}


def table_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of the result table of the test split, none if it was not evaluated."""
    try:
        return list(json.loads((folder / "test" / "table.json").read_text(encoding="utf-8"))["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def first_difference(left: Path, right: Path) -> str | None:
    """Where the two metrics.csv begin to differ, as text, None if they are equal; measured speeds are not compared."""
    rows = [metric_rows(left), metric_rows(right)]
    if not any(rows):
        return None
    for number, (first, second) in enumerate(zip(*rows, strict=False), 1):
        names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
        if names:
            step = first.get("step") or second.get("step")
            values = f"{first.get(names[0]) or 'empty'}, {second.get(names[0]) or 'empty'}"
            return f"from row {number}, step {step}: {names[0]} ({values})"
    lengths = [len(part) for part in rows]
    return None if lengths[0] == lengths[1] else f"{lengths[0]} and {lengths[1]} rows"


def metric_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without measured speeds."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: text for name, text in row.items() if not MEASURED.match(name) and text} for row in rows]


@dataclass(frozen=True)
class Weights:
    """The weights of a checkpoint: a SHA-256 of names, types, shapes and values, and the number of tensors."""

    sha256: str
    tensors: int

    def __str__(self) -> str:
        return f"{self.sha256[:12]}, {self.tensors} tensors"


def weights_of(run: RunFolder) -> dict[str, Weights]:
    """The weights of last.ckpt and best.ckpt of a run, of those that exist and can be read."""
    from trimer.checkpoint import read

    digests = {}
    for name in CHECKPOINTS:
        path = run.path / "checkpoints" / name
        if path.exists():
            try:
                digests[name] = digest(read(path)["state_dict"])
            except CheckpointError:  # damaged, or of another version
                continue
    return digests


def digest(tensors: Mapping[str, Any]) -> Weights:
    """The hash of tensors by name; it does not depend on the file in which they are stored."""
    import torch

    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        total.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        for part in parts(values.reshape(-1).view(torch.uint8) if values.numel() else values):
            total.update(part)
    return Weights(total.hexdigest(), len(tensors))


def parts(values: Any, size: int = 1 << 26) -> Iterator[bytes]:
    """The bytes of a flat tensor, at most `size` at a time, since the weights may not fit into memory twice."""
    for start in range(0, values.numel(), size):
        yield values[start : start + size].numpy().tobytes()
