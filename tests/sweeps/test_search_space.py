"""Search spaces in Hydra's sweep syntax, as distributions of Optuna and parameters of W&B."""

from __future__ import annotations

import pytest

from trimer.errors import ConfigError
from trimer.sweeps.search_space import Choice, Range, search_space

SPACE = {
    "optimizer.lr=tag(log,interval(1e-5,1e-2))": Range(1e-5, 1e-2, None, True),
    "model.dropout=interval(0.0,0.5)": Range(0.0, 0.5, None, False),
    "model.n_layers=range(2,8)": Range(2, 7, 1, False),
    "model.d_model=range(64,257,64)": Range(64, 256, 64, False),
    "task.alpha=range(0,0.5,0.1)": Range(0.0, 0.4, 0.1, False),
    "data.tokens_per_batch=int(tag(log,interval(1000,64000)))": Range(1000, 64000, None, True),
    "model=smiles_nano,smiles_small": Choice(("smiles_nano", "smiles_small")),
    "optimizer.betas=choice([0.9,0.95],[0.9,0.999])": Choice(("[0.9,0.95]", "[0.9,0.999]")),
}


@pytest.mark.parametrize("text", SPACE)
def test_sweeps_are_dimensions_of_the_space(text):
    space, fixed = search_space([text, "name=x"], None)
    (dimension,) = space.values()
    assert dimension == SPACE[text]
    assert fixed == ["name=x"]


def test_the_last_override_of_a_key_counts():
    space, fixed = search_space(["a=interval(0,1)", "b=1,2", "a=3", "+c=1,2", "~d"], None)
    assert (space, fixed) == ({"b": Choice(("1", "2")), "+c": Choice(("1", "2"))}, ["a=3", "~d"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a=1", "no search space"),
        ("a=range(3,3)", "no value to choose from"),
        ("a=tag(log,interval(0,1))", "needs numbers above 0"),
        ("a=tag(log,range(1,9,2))", "cannot have steps"),
    ],
)
def test_a_space_that_cannot_be_searched_is_explained(text, reason):
    with pytest.raises(ConfigError, match=reason):
        search_space([text], None)


def test_wandb_gets_numbers_and_distributions():
    assert {text.partition("=")[0]: dimension.to_wandb() for text, dimension in SPACE.items()} == {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
        "model.dropout": {"distribution": "uniform", "min": 0.0, "max": 0.5},
        "model.n_layers": {"distribution": "int_uniform", "min": 2, "max": 7},
        "model.d_model": {"values": [64, 128, 192, 256]},
        "task.alpha": {"values": [0.0, 0.1, 0.2, 0.3, 0.4]},
        "data.tokens_per_batch": {"distribution": "q_log_uniform_values", "min": 1000, "max": 64000, "q": 1},
        "model": {"values": ["smiles_nano", "smiles_small"]},
        "optimizer.betas": {"values": ["[0.9,0.95]", "[0.9,0.999]"]},
    }
    assert Choice(("1", "0.5", "true", "nan")).to_wandb() == {"values": [1, 0.5, "true", "nan"]}
