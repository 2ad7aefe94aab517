"""Which runs may be averaged: those with the same data whose resolved configs differ in nothing but the seed.

Folds of a cross-validation are averaged too: they have the same data, each with another split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.resuming import ABSENT, MAY_CHANGE, dotted_values, set_value, value_at
from trimer.run import run_config

if TYPE_CHECKING:
    from trimer.reporting.runs import Group, Run

# Keys that do not change a result; a key stands for all keys below it.
KINDS = ("logging", "paths", "final evaluation", "the sweep")
NO_SETTINGS = [key for kind in KINDS for key in MAY_CHANGE[kind]]
FOLD = "data.split.fold"
# Keys that depend on the seed, for a run whose run.json does not list them.
OF_THE_SEED = ("data.seed", "task.generator.seed")


def settings_of(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """The resolved config of a run by dotted keys, without the seed, paths, and keys that do not change a result."""
    config = run_config(folder)
    places = value_at(config, "paths")
    for key in (*NO_SETTINGS, "seed", FOLD, *((record.get("seeds") or {}).get("keys") or OF_THE_SEED)):
        set_value(config, key, ABSENT)
    places = {name: str(place) for name, place in places.items()} if isinstance(places, Mapping) else {}
    return {key: _text(_placed(value, places)) for key, value in dotted_values(config).items()}


def facts_of(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the data and of their split, if recorded, which all runs of a group must have in common."""
    followers = (record.get("seeds") or {}).get("keys") or ()
    if any(key.startswith("data.") and key != "data.seed" for key in followers):
        return {}  # each seed has its own data
    try:
        split = json.loads((folder / "split.json").read_text(encoding="utf-8")).get("sha256")
    except (OSError, ValueError, AttributeError):
        split = None
    return {name: value for name, value in (("data", record.get("data")), ("split", split)) if value}


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups of runs with the same config; a run that failed before it had one joins the group with its overrides."""
    members: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.config:
            members.setdefault((run.settings.get("command"), *sorted(run.config.items())), []).append(run)
    groups = list(members.values())
    alone: dict[tuple, list[Run]] = {}
    for run in (run for run in runs if not run.config):
        matching = [
            group for group in groups if all(_overrides(member) == _overrides(run) for member in group if member.config)
        ]
        if len(matching) == 1:
            matching[0].append(run)
        else:
            alone.setdefault(_overrides(run), []).append(run)
    return [*groups, *alone.values()]


def varied_keys(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The settings in which the groups differ: overrides, and keys of the config where overrides do not suffice.

    These keys of the config are added to the settings of the runs.
    """
    runs = [run for group in groups for run in group]
    keys = [
        key
        for key in dict.fromkeys(key for run in runs for key in run.settings)
        if len({run.settings.get(key) for run in runs}) > 1
        and all(len({run.settings.get(key) for run in group}) == 1 for group in groups)
    ]
    alike: dict[tuple, list[Sequence[Run]]] = {}
    for group in groups:
        alike.setdefault(tuple(group[0].settings.get(key) for key in keys), []).append(group)
    extra: dict[str, None] = {}
    for same in (same for same in alike.values() if len(same) > 1):
        configs = [next((run.config for run in group if run.config), {}) for group in same]
        names = dict.fromkeys(key for config in configs for key in config)
        extra |= dict.fromkeys(key for key in names if len({config.get(key) for config in configs}) > 1)
    for run in runs:
        run.settings |= {key: run.config[key] for key in extra if key in run.config}
    return [*keys, *(key for key in extra if key not in keys)]


def conflict(runs: Sequence[Run]) -> str | None:
    """Why runs with the same config must not be averaged, or None."""
    for name, words in (("data", "were trained on different data"), ("split", "split their data differently")):
        folders: dict[str | None, dict[str, str]] = {}  # each fold has its split
        for run in runs:
            if name in run.facts:
                fold = run.fold if name == "split" else None
                folders.setdefault(fold, {}).setdefault(run.facts[name], run.folder)
        for same in folders.values():
            if len(same) > 1:
                shown = " and ".join(list(same.values())[:3])
                return f"{shown} have the same settings but {words}, so they have no mean"
    return None


def notes(groups: Sequence[Group]) -> list[str]:
    """Notes on the means: seeds that were run twice, and groups with several versions of the code."""
    sentences = []
    for group in groups:
        seeds: dict[tuple[str | None, str | None], list[str]] = {}
        for run in group.runs:
            if run.status == "ok":
                seeds.setdefault((run.fold, run.seed), []).append(run.folder)
        sentences += [
            f"{', '.join(folders)}: same settings and seed {seed}, counted as one seed"
            for (_, seed), folders in seeds.items()
            if len(folders) > 1
        ]
        versions = {run.code: run.folder for run in group.runs if run.code}
        if len(versions) > 1:
            sentences.append(f"{', '.join(versions.values())}: same settings, different versions of the code")
    return sentences


def _overrides(run: Run) -> tuple:
    return tuple(sorted((key, value) for key, value in run.settings.items() if key != "command"))


def _placed(value: Any, places: Mapping[str, str]) -> Any:
    """A path below one of `paths`, with the name of that folder in place of its path."""
    if isinstance(value, list):
        return [_placed(entry, places) for entry in value]
    for name, place in sorted(places.items(), key=lambda item: -len(item[1])):
        if isinstance(value, str) and (value == place or value.startswith(f"{place}/")):
            return f"<{name}>{value[len(place) :]}"
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
