"""Conversion of weights between two sets of names, by a table.

"Ours" are the names in Trimer, "theirs" those of a reference implementation. Ours may concatenate the rows of several
of theirs, such as those of query, key and value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from trimer.errors import CheckpointError

KeyTable = list[tuple[str, list[str]]]  # our name of a weight, their names of its rows in order


def weights_of(modules: Mapping[str, Sequence[str]], kinds: Sequence[str] = ("weight", "bias")) -> KeyTable:
    """Table for modules, given as our name -> their names; kinds: the weights of each module."""
    return [
        (f"{ours}.{kind}", [f"{name}.{kind}" for name in theirs]) for ours, theirs in modules.items() for kind in kinds
    ]


def to_ours(state: dict[str, Tensor], table: KeyTable, model: str) -> dict[str, Tensor]:
    """The weights under our names. Removes them from the state. model: for errors, such as "a BART"."""
    converted = {}
    for ours, theirs in table:
        missing = [name for name in theirs if name not in state]
        if missing:
            raise CheckpointError(f"these weights lack {', '.join(missing)}: the file is incomplete or not {model}")
        converted[ours] = torch.cat([state.pop(name) for name in theirs])
    return converted


def check_all_used(unused: Iterable[str], model: str) -> None:
    """CheckpointError with the names of weights that the model in Trimer does not have."""
    if names := sorted(unused):
        name = model.partition(" ")[2]
        raise CheckpointError(f"Trimer's {name} does not have these weights: {', '.join(names[:5])}")


def to_theirs(ours: Mapping[str, Tensor], table: KeyTable) -> dict[str, Tensor]:
    """The weights under their names, as tensors that share no memory."""
    return {
        name: rows.clone()
        for weight, theirs in table
        for name, rows in zip(theirs, ours[weight].chunk(len(theirs)), strict=True)
    }
