"""Weights moved between two sets of names by a table: our weight, and those of the reference that it concatenates.

Ours joins projections that the reference keeps apart (query, key and value), so one of our weights may hold the rows of
several of theirs, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from trimer.errors import CheckpointError

KeyTable = list[tuple[str, list[str]]]  # our name of a weight, their names of its rows from top to bottom


def weights_of(modules: Mapping[str, Sequence[str]], kinds: Sequence[str] = ("weight", "bias")) -> KeyTable:
    """The rows of the table for our modules and theirs, each with these weights."""
    return [
        (f"{ours}.{kind}", [f"{name}.{kind}" for name in theirs]) for ours, theirs in modules.items() for kind in kinds
    ]


def to_ours(state: dict[str, Tensor], table: KeyTable, model: str) -> dict[str, Tensor]:
    """The weights under our names; what was used is taken out of the state. model: what it is, as "a BART"."""
    converted = {}
    for ours, theirs in table:
        absent = [name for name in theirs if name not in state]
        if absent:
            raise CheckpointError(f"these weights lack {', '.join(absent)}: the file is cut short or not {model}")
        converted[ours] = torch.cat([state.pop(name) for name in theirs])
    return converted


def check_all_used(left: Iterable[str], model: str) -> None:
    """CheckpointError that names weights which our model has no place for."""
    if names := sorted(left):
        known = model.partition(" ")[2]
        raise CheckpointError(f"these weights hold what our {known} has no place for: {', '.join(names[:5])}")


def to_theirs(ours: Mapping[str, Tensor], table: KeyTable) -> dict[str, Tensor]:
    """The weights under their names, as tensors of their own."""
    return {
        name: rows.clone()
        for weight, theirs in table
        for name, rows in zip(theirs, ours[weight].chunk(len(theirs)), strict=True)
    }
