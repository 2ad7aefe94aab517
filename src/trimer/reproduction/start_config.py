"""The config of a run as the start of another: recorded values, and references between them that a change follows.

Recorded are the resolved values, and which of them were written as `${...}`. A new run keeps the references to other
keys, so that `trainer.max_steps=10` also changes the length of the schedule. Values of resolvers stay as recorded, such
as the precision that was the fastest on the CPU of the run. Folders (`paths`) and the id of the tracker are new.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from trimer.errors import InputError
from trimer.resuming import ABSENT, dotted_values, key_of, nearest_run, set_value
from trimer.run import RunFolder

NEW = {"resume", "from_run", "n_jobs"}  # keys of a command line, not of a training
FRESH = {"trimer.run_id", "trimer.stamp", "hydra"}  # resolvers whose value belongs to one run


def recorded_run(folder: str | Path, option: str = "") -> RunFolder:
    """The folder of a run of any command. option: for messages, such as `from=`; InputError for any other folder."""
    run = RunFolder(Path(folder).expanduser())
    if not run.path.is_dir():
        raise InputError(f"{option}{folder}: there is no such folder; name the folder of a run, runs/<name>/<run>")
    if not run.started or not (run.path / "config.yaml").is_file():
        hint = nearest_run(run.path).replace("resume=", option)
        raise InputError(f"{option}{folder} is not a run folder: it has no run.json and config.yaml{hint}")
    return run


def training_run(folder: str | Path, option: str) -> RunFolder:
    """The folder of a training run; InputError for any other folder."""
    run = recorded_run(folder, option)
    if (command := run.record.get("command")) != "train":
        raise InputError(f"{option}{folder} is the folder of trimer {command}; name the folder of a training run")
    return run


def start_config(run: RunFolder) -> dict[str, Any]:
    """The config of a run by its top-level keys, with `${...}` where values follow others.

    `paths` holds only the folders that the user had set.
    """
    config, record = run.config, run.record
    written = record.get("interpolations")
    followers = earlier_references(config, record) if written is None else written
    changed = {key_of(text) for entry in record.get("resumed", ()) for text in entry.get("overrides", ())}
    changed -= {key_of(text) for text in stored_overrides(run)}  # a resumption repeats the overrides of the start
    folders = {} if written is None else dict(config.get("paths") or {})
    for key, text in followers.items():
        if key.startswith("paths."):
            folders.pop(key.removeprefix("paths."), None)
        elif key not in changed and refers_to_keys(text):
            set_value(config, key, text)
    for key in NEW:
        set_value(config, key, ABSENT)
    return {**config, "paths": {name: folder for name, folder in folders.items() if name != "run"}}


def stored_overrides(run: RunFolder) -> list[str]:
    """The overrides of the first start of a run."""
    from omegaconf import OmegaConf

    path = run.path / "overrides.yaml"
    return [str(text) for text in OmegaConf.load(path)] if path.is_file() else []


def refers_to_keys(text: str) -> bool:
    """Whether a value refers to other keys only, not to resolvers whose recorded value must stay."""
    return set(re.findall(r"\$\{\s*([\w.]+)\s*:", text)) <= FRESH


def earlier_references(config: dict[str, Any], record: dict[str, Any]) -> dict[str, str]:
    """References of a run of an earlier version, which did not record them: to the seed and to absolute folders."""
    folders = {name: str(folder) for name, folder in (config.get("paths") or {}).items()}
    folders = {name: folder for name, folder in folders.items() if name == "run" or Path(folder).is_absolute()}
    followers = dict.fromkeys((record.get("seeds") or {}).get("keys") or (), "${seed}")
    for key, value in dotted_values(config).items():
        if key.endswith(".wandb.id"):
            followers[key] = "${trimer.run_id:${paths.run}}"
        elif isinstance(value, str) and not key.startswith("paths."):
            for name, folder in folders.items():
                if value == folder or value.startswith(f"{folder}/"):
                    followers[key] = f"${{paths.{name}}}{value[len(folder) :]}"
    return followers
