"""The group of the config to which an object belongs, so that a logger cannot be named as a data source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trimer.errors import ConfigError

# Packages and classes whose objects belong into one group of the config.
SLOTS = {
    "trimer.callbacks.checkpoints.WholeFiles": "trainer",  # a plugin of the trainer
    "lightning.pytorch.callbacks": "callbacks",
    "lightning.pytorch.loggers": "logger",
    "lightning.pytorch.plugins": "trainer",
    "lightning.pytorch.profilers": "trainer",
    "lightning.pytorch.strategies": "trainer",
    "lightning.Trainer": "trainer",
    "lightning.pytorch.Trainer": "trainer",
    "trimer.callbacks": "callbacks",
    "trimer.loggers": "logger",
    "trimer.trackers": "logger",
    "trimer.tasks": "task",
}
GROUPS = {"callbacks", "data", "logger", "model", "optimizer", "scheduler", "task", "trainer"}


def check_slots(nodes: Iterable[tuple[str, Mapping[str, Any]]], key: str) -> None:
    """Raise ConfigError if an object is named in the wrong group.

    nodes: the dotted key and the config of each object below `key`; keys outside of GROUPS are not checked.
    """
    group = key.partition(".")[0]
    if group not in GROUPS:
        return
    for where, node in nodes:
        target = f"{node['_target_']}."
        slot = next((SLOTS[package] for package in SLOTS if target.startswith(f"{package}.")), group)
        if slot != group:
            raise ConfigError(f"{where}: {node['_target_']} is for {slot}, it cannot be used in {group}")
