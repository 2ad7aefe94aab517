"""Which runs may be averaged: those whose resolved configs differ by nothing but the seed, on the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.resuming import ABSENT, MAY_CHANGE, at, flat, put
from trimer.run import run_config

if TYPE_CHECKING:
    from trimer.reporting.runs import Group, Run

# Keys that do not alter what is measured; a key stands for all below it.
KINDS = ("logging", "paths", "what is measured at the end", "the sweep")
NO_SETTINGS = [key for kind in KINDS for key in MAY_CHANGE[kind]]
# Keys that follow the seed, in a run whose run.json does not list them.
OF_THE_SEED = ("data.seed", "task.generator.seed")


def settings_of(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """The resolved config of a run by dotted keys, without the seed, the paths, and what alters no result."""
    config = run_config(folder)
    places = at(config, "paths")
    for key in (*NO_SETTINGS, "seed", *((record.get("seeds") or {}).get("keys") or OF_THE_SEED)):
        put(config, key, ABSENT)
    places = {name: str(place) for name, place in places.items()} if isinstance(places, Mapping) else {}
    return {key: _text(_placed(value, places)) for key, value in flat(config).items()}


def facts_of(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """What runs of one group must have in common beside the config, where it is recorded: the data and their split."""
    followers = (record.get("seeds") or {}).get("keys") or ()
    if any(key.startswith("data.") and key != "data.seed" for key in followers):
        return {}  # each seed has its own data
    try:
        split = json.loads((folder / "split.json").read_text(encoding="utf-8")).get("sha256")
    except (OSError, ValueError, AttributeError):
        split = None
    return {name: value for name, value in (("data", record.get("data")), ("split", split)) if value}


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs with the same config together; one that died before it had a config joins those with its overrides."""
    members: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.config:
            members.setdefault((run.settings.get("command"), *sorted(run.config.items())), []).append(run)
    groups = list(members.values())
    alone: dict[tuple, list[Run]] = {}
    for run in (run for run in runs if not run.config):
        alike = [own for own in groups if all(_words(one) == _words(run) for one in own if one.config)]
        if len(alike) == 1:
            alike[0].append(run)
        else:
            alone.setdefault(_words(run), []).append(run)
    return [*groups, *alone.values()]


def varied_keys(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The settings that tell the groups apart: overrides, and keys of the config where these do not suffice.

    The latter are added to the settings of the runs.
    """
    runs = [run for own in groups for run in own]
    keys = [
        key
        for key in dict.fromkeys(key for run in runs for key in run.settings)
        if len({run.settings.get(key) for run in runs}) > 1
        and all(len({run.settings.get(key) for run in own}) == 1 for own in groups)
    ]
    alike: dict[tuple, list[Sequence[Run]]] = {}
    for own in groups:
        alike.setdefault(tuple(own[0].settings.get(key) for key in keys), []).append(own)
    extra: dict[str, None] = {}
    for some in (some for some in alike.values() if len(some) > 1):
        configs = [next((run.config for run in own if run.config), {}) for own in some]
        names = dict.fromkeys(key for config in configs for key in config)
        extra |= dict.fromkeys(key for key in names if len({config.get(key) for config in configs}) > 1)
    for run in runs:
        run.settings |= {key: run.config[key] for key in extra if key in run.config}
    return [*keys, *(key for key in extra if key not in keys)]


def conflict(runs: Sequence[Run]) -> str | None:
    """Why runs with the same config must not be averaged, or None."""
    for name, words in (("data", "were trained on different data"), ("split", "have their data split differently")):
        folders: dict[str, str] = {}
        for run in runs:
            if name in run.facts:
                folders.setdefault(run.facts[name], run.folder)
        if len(folders) > 1:
            return (
                f"{' and '.join(list(folders.values())[:3])} have the same settings and {words}, so they have no mean"
            )
    return None


def notes(groups: Sequence[Group]) -> list[str]:
    """What a reader has to know of the means: seeds that were run twice, and groups of several versions of the code."""
    said = []
    for group in groups:
        seeds: dict[str | None, list[str]] = {}
        for run in group.runs:
            if run.status == "ok":
                seeds.setdefault(run.seed, []).append(run.folder)
        said += [
            f"{', '.join(folders)}: the same settings and seed {seed}, counted as one seed"
            for seed, folders in seeds.items()
            if len(folders) > 1
        ]
        versions = {run.code: run.folder for run in group.runs if run.code}
        if len(versions) > 1:
            said.append(f"{', '.join(versions.values())}: the same settings and different versions of the code")
    return said


def _words(run: Run) -> tuple:
    return tuple(sorted((key, value) for key, value in run.settings.items() if key != "command"))


def _placed(value: Any, places: Mapping[str, str]) -> Any:
    """A path below one of `paths` with the name of that in its place."""
    if isinstance(value, list):
        return [_placed(part, places) for part in value]
    for name, place in sorted(places.items(), key=lambda item: -len(item[1])):
        if isinstance(value, str) and (value == place or value.startswith(f"{place}/")):
            return f"<{name}>{value[len(place) :]}"
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
