"""What differs between two run folders of the same training, without what a clock measures."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import torch

CLOCK = ("tokens_per_second", "residues_per_second", "mfu")
SKIPPED = ("pytorch-lightning_version", "trimer")  # the contract holds no state of the training


def differences(first_run: Path, second_run: Path) -> list[str]:
    """The names of the values that differ, at most three of each file."""
    names = []
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (checkpoint(folder, name) for folder in (first_run, second_run))
        names += [f"{name}: {key}" for key in [*unequal(first, second)][:3]]
    names += [f"metrics.csv: {text}" for text in [*unequal(metrics(first_run), metrics(second_run))][:3]]
    results = [json.loads((folder / "result.json").read_text()) for folder in (first_run, second_run)]
    results = [{"steps": r["steps"], "real_tokens": r["real_tokens"], **without_clock(r["metrics"])} for r in results]
    return names + [f"result.json: {key}" for key in unequal(*results)]


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


def unequal(first, second, name: str = "") -> Iterator[str]:
    """The names of the leaves that differ; NaN equals NaN."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and torch.equal(first.nan_to_num(), second.nan_to_num())
    elif isinstance(first, dict) and isinstance(second, dict):
        for key in dict.fromkeys([*first, *second]):
            if key in first and key in second:
                yield from unequal(first[key], second[key], f"{name}.{key}".lstrip("."))
            else:
                yield f"{name}.{key} in one only"
        return
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, pair in enumerate(zip(first, second, strict=True)):
            yield from unequal(*pair, f"{name}[{number}]")
        return
    else:
        same = first == second or (first != first and second != second)
    if not same:
        shown = "" if isinstance(first, torch.Tensor) else f" ({first} and {second})"
        yield f"{name}{shown}"[:200]
