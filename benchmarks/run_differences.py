"""What differs between two run folders of the same training, without what a clock measures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import torch

CLOCK = ("tokens_per_second", "residues_per_second", "mfu")
SKIPPED = ("pytorch-lightning_version", "trimer")  # the contract holds no state of the training


def differences(one: Path, other: Path) -> list[str]:
    """The names of the values that differ, at most three of each file."""
    found = []
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (checkpoint(folder, name) for folder in (one, other))
        found += [f"{name}: {key}" for key in [*unequal(first, second)][:3]]
    found += [f"metrics.csv: {text}" for text in [*unequal(metrics(one), metrics(other))][:3]]
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, other)]
    results = [{"steps": r["steps"], "real_tokens": r["real_tokens"], **without_clock(r["metrics"])} for r in results]
    return found + [f"result.json: {key}" for key in unequal(*results)]


def checkpoint(folder: Path, name: str) -> dict:
    """The state in a checkpoint; of best.ckpt the weights."""
    path = folder / "checkpoints" / name
    if not path.is_file():
        return {"missing": True}
    saved = torch.load(path, weights_only=True)
    if name == "best.ckpt":
        return {"state_dict": saved["state_dict"], "global_step": saved["global_step"]}
    kept = {key: value for key, value in saved.items() if key not in SKIPPED}
    loops = saved["loops"]["fit_loop"]
    kept["loops"] = {key: value for key, value in loops.items() if "val_loop" not in key}
    kept["logged_metrics"] = saved["logged_metrics"] | {"metrics": without_clock(saved["logged_metrics"]["metrics"])}
    return renamed(kept, str(folder.resolve()))


def metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    with open(folder / "metrics.csv", newline="") as file:
        return [without_clock(row) for row in csv.DictReader(file)]


def without_clock(values: dict) -> dict:
    return {name: value for name, value in values.items() if name not in CLOCK}


def renamed(value, folder: str):
    """The value with the run folder replaced in all texts."""
    if isinstance(value, dict):
        return {renamed(key, folder): renamed(part, folder) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [renamed(part, folder) for part in value]
    return value.replace(folder, "RUN") if isinstance(value, str) else value


def unequal(one, other, name: str = "") -> Iterator[str]:
    """The names of the leaves that differ; NaN equals NaN."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if key in one and key in other:
                yield from unequal(one[key], other[key], f"{name}.{key}".lstrip("."))
            else:
                yield f"{name}.{key} in one only"
        return
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from unequal(*pair, f"{name}[{number}]")
        return
    else:
        same = one == other or (one != one and other != other)
    if not same:
        shown = "" if isinstance(one, torch.Tensor) else f" ({one} and {other})"
        yield f"{name}{shown}"[:200]
