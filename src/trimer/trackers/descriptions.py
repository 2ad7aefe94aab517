"""What a tracker shows of a run: its name, group, tags, notes and facts, and the names of its metrics in panels."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimer.reporting.setting_names import short_keys

NAMED = 120  # letters of a name
DIFF = 200_000  # characters of a git diff
# Overrides that say nothing about what is trained, and groups whose choices are tags.
NO_NAMES = (
    "experiment|name|tags|resume|n_jobs|objective|launcher|logger|debug|hydra|paths|test|baselines|trainer|callbacks"
)
NOT_NAMED = re.compile(rf"[+~]*({NO_NAMES})([./=]|$)")
CHOICES = ("experiment", "model", "data", "task")
# Logged name -> name in the tracker, whose part before the slash is the section of its panel; None is not drawn,
# because it is a straight line over the steps.
PANELS = {
    "lr": "optimizer/lr",
    "gradient_norm": "optimizer/gradient_norm",
    "parameter_norm": "optimizer/parameter_norm",
    "mfu": "speed/mfu",
    "epoch": None,
    "real_tokens": None,
    "time": None,
}
COUNTS = ("labels_seen", "masked_tokens")  # of a split; a horizontal line over the steps


def panel_name(metric: str) -> str | None:
    """The name of a metric in the tracker; None for one that is not drawn."""
    if metric in PANELS:
        return PANELS[metric]
    if is_count(metric):
        return None
    return f"speed/{metric}" if metric.endswith("_per_second") and "/" not in metric else metric


def is_count(metric: str) -> bool:
    """Whether a metric is a number of labels or tokens, which is the same in each validation."""
    return metric.rpartition("/")[2] in COUNTS


def sweep_of(folder: str | Path) -> str | None:
    """The name of the sweep that a run folder belongs to, None for a single run."""
    folder = Path(folder).absolute()
    return folder.parent.name if (folder / "job.json").is_file() or folder.name.isdigit() else None


def run_name(name: str, overrides: Sequence[str], folder: str | Path) -> str:
    """The name and what differs from the defaults, as `demo lr=1e-3 seed=2`; else the name of the folder.

    What differs between the jobs of a sweep comes first. Keys with the same last word are named by more words.
    """
    varied = read_record(folder, "job.json").get("varied") or []
    named = {}
    for word in sorted(overrides, key=lambda word: word not in varied):
        key, _, value = word.lstrip("+~").partition("=")
        if word in varied or not (NOT_NAMED.match(word) or key.endswith(".paths")):
            named[key] = value.rpartition("/")[2] or value
    short = short_keys(list(named))
    text = " ".join([name, *(f"{short[key]}={value}" for key, value in named.items())])
    text = text if named else f"{name} {Path(folder).absolute().name}"
    return text if len(text) <= NAMED else text[: NAMED - 1] + "…"


def tags_of(tags: Sequence[str], choices: dict[str, Any]) -> list[str]:
    """The tags of the user, then the chosen experiment, model, data and task; at most 64 letters each."""
    chosen = [str(choices[group]) for group in CHOICES if choices.get(group) not in (None, "null")]
    return [tag[:64] for tag in dict.fromkeys([*map(str, tags), *chosen])]


def command_of(record: dict[str, Any]) -> str:
    """The command line that started a run, from its run.json."""
    words = record.get("argv") or []
    return shlex.join(["trimer", *words[1:]]) if words else ""


def notes_of(record: dict[str, Any]) -> str:
    """Command and code version of a run as text."""
    git = record.get("git") or {}
    lines = [command_of(record)]
    if git.get("sha"):
        lines.append(f"git {git['sha']}" + (" with local changes (git.diff)" if git.get("dirty") else ""))
    return "\n".join(line for line in lines if line)


def facts_of(record: dict[str, Any]) -> dict[str, Any]:
    """Facts of run.json that belong to the config in a tracker: code, packages, device, data."""
    keys = ("trimer", "git", "python", "platform", "packages", "device", "data", "seeds")
    return {key: record[key] for key in keys if record.get(key) is not None}


def read_record(folder: str | Path, name: str = "run.json") -> dict[str, Any]:
    """A JSON file of a run folder, empty if it does not exist or is not JSON."""
    try:
        content = json.loads((Path(folder) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
