"""Conversion between two sets of names: concatenated, split again, errors for missing and unknown weights."""

from __future__ import annotations

import pytest
import torch

from trimer.errors import CheckpointError
from trimer.models.convert.key_tables import check_all_used, to_ours, to_theirs, weights_of

TABLE = weights_of({"joined": ["q", "k"], "output": ["out"]}, ["weight"])


def test_rows_are_concatenated_and_split_again():
    theirs = {f"{name}.weight": torch.randn(2, 3) for name in ("q", "k", "out")}
    left = dict(theirs)
    ours = to_ours(left, TABLE, "a BART")
    assert left == {} and ours["joined.weight"].shape == (4, 3)
    back = to_theirs(ours, TABLE)
    assert back.keys() == theirs.keys() and all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_missing_and_unknown_weights_raise_errors():
    with pytest.raises(CheckpointError, match=r"lack k\.weight: the file is incomplete or not an ESM2"):
        to_ours({"q.weight": torch.zeros(1)}, TABLE, "an ESM2")
    with pytest.raises(CheckpointError, match=r"BART does not have these weights: a, b"):
        check_all_used(["b", "a"], "a BART")
    check_all_used([], "a BART")
