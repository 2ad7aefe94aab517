"""Fingerprints of training molecules in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trimer import training_molecules as module
from trimer.checkpoint import Loaded
from trimer.errors import CheckpointError
from trimer.training_molecules import library_of, training_molecules

SMILES = ["CCO", "OCC", "CCN", "CCCl", "CCBr", "CCCO", "CCCN"]


def loaded(stored) -> Loaded:
    return Loaded(torch.nn.Linear(1, 1), None, {}, Path("x.ckpt"), training_molecules=stored)


def test_equal_molecules_are_stored_once():
    stored = training_molecules([*SMILES, *SMILES])
    assert stored["molecules"] == 6 and stored["fingerprints"].shape == (6, 256)
    assert library_of(loaded(stored)).similarity("C(O)C") == 1.0


def test_a_large_split_is_sampled_the_same_way_each_time(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 4)
    monkeypatch.setattr(module, "READ", 100)
    stored = training_molecules(SMILES)
    assert stored["molecules"] == 6 and len(stored["fingerprints"]) == 4
    assert torch.equal(stored["fingerprints"], training_molecules(SMILES[::-1])["fingerprints"])


def test_no_molecule_gives_an_empty_library_and_an_old_checkpoint_none():
    assert library_of(loaded(training_molecules([]))).similarity("CCO") is None
    assert library_of(loaded(None)) is None


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"fingerprints": [1]},
        {"fingerprints": torch.zeros(2, 255, dtype=torch.uint8)},
        {"fingerprints": torch.zeros(2, 256)},
        {"fingerprints": torch.zeros(1, dtype=torch.uint8).expand(module.LIMIT + 1, 256)},
    ],
)
def test_malformed_fingerprints_raise_an_error(stored):
    with pytest.raises(CheckpointError, match=r"x\.ckpt: the key training_molecules"):
        library_of(loaded(stored))
