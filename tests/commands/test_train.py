"""What `trimer train` says of a run before it begins."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from trimer.commands import train


class Esm2(nn.Linear):
    """Stands for the class of a network that is trained on SMILES."""


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ({"model": "smiles_nano", "data": "foodb"}, "model=smiles_nano: 12 parameters; it reads data=foodb"),
        ({}, "the model: 12 parameters; it reads SimpleNamespace"),
    ],
    ids=["command line", "Python"],
)
def test_a_model_of_molecules_is_not_named_after_its_class(monkeypatch, choices, text):
    monkeypatch.setattr(train, "config_choices", lambda: choices)
    assert train.describe_model(Esm2(3, 3), SimpleNamespace()) == text
