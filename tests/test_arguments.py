"""An object created in Python is described by its constructor arguments."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from trimer.arguments import KeepsArguments, config_of, undescribed, without_undescribed
from trimer.building import build
from trimer.generation.molecule_generator import MoleculeGenerator
from trimer.models.esm2 import Esm2
from trimer.optim import adamw
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.tokenizers.protein import ProteinTokenizer


class Net(KeepsArguments, nn.Module):
    def __init__(self, width: int, part=None, **more):
        super().__init__()
        self.layer = nn.Linear(width, width)


class PassesOn(Net):
    def __init__(self, *args, extra: int = 5, **more):
        super().__init__(*args, **more)


class Narrow(Net):
    def __init__(self, name: str):
        super().__init__(2)


@dataclass
class Point:
    x: int
    where: Path


def test_arguments_are_recorded_by_name():
    assert Net(3, part=[Point(1, Path("a"))], z=2).made_with == {
        "_target_": f"{__name__}.Net", "width": 3, "z": 2,
        "part": [{"_target_": f"{__name__}.Point", "x": 1, "where": "a"}],
    }  # fmt: skip
    assert PassesOn(3, z=2).made_with == {"_target_": f"{__name__}.PassesOn", "width": 3, "extra": 5, "z": 2}
    assert Narrow("mine").made_with == {"_target_": f"{__name__}.Narrow", "name": "mine"}


def test_copies_keep_the_recorded_arguments():
    net = Esm2(d_model=16, layers=1, heads=2)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.made_with == net.made_with != {}


@pytest.mark.parametrize(
    "value",
    [
        Esm2(d_model=16, layers=1, heads=2),
        ProteinTokenizer("unknown"),
        SimulatedProteins(7),
        MoleculeGenerator(beams=3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_are_rebuilt_from_their_config(value):
    config = config_of(value)
    assert not list(undescribed(config))
    assert config_of(build(config)) == config


def test_values_are_converted_to_plain_config_values():
    assert config_of([np.float64(0.5), (1, None), {"a": Path("x")}]) == [0.5, [1, None], {"a": "x"}]
    assert config_of(partial(adamw, lr=0.1)) == {"_target_": "trimer.optim.adamw", "lr": 0.1, "_partial_": True}


def test_values_that_no_config_can_hold_are_listed():
    config = config_of({"net": nn.Linear(2, 2), "many": [1, np.zeros(3)], "call": print})
    assert list(undescribed(config)) == [
        "net (torch.nn.modules.linear.Linear)", "many[1] (numpy.ndarray)", "call (builtins.builtin_function_or_method)",
    ]  # fmt: skip
    assert without_undescribed(config) == {"net": None, "many": [1, None], "call": None}


def test_invalid_arguments_raise_the_type_error_of_the_class():
    with pytest.raises(TypeError, match="unexpected keyword argument 'heigth'"):
        Esm2(heigth=3)
