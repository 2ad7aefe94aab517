"""What `trimer train` says of a run before it begins."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from torch import nn

from trimer.cli.configs import compose
from trimer.commands import train
from trimer.errors import ConfigError


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


def test_settings_of_a_schedule_that_is_switched_off_are_reported_with_the_words_that_remove_them():
    cfg = compose("train", ["experiment=demo"])
    train.check_targets(cfg)
    cfg.scheduler = {"min_lr_ratio": 0.02}  # what is left of the recipe's settings after scheduler=null
    with pytest.raises(ConfigError, match=r"^scheduler has settings but no _target_: .* ~scheduler\.min_lr_ratio$"):
        train.check_targets(cfg)
    for nothing in (None, {}):
        train.check_targets(OmegaConf.create({"optimizer": {"_target_": "any"}, "scheduler": nothing}))
