"""Words without a key: which keys they get, and what a reproduction passes on to the training."""

from __future__ import annotations

import pytest

from trimer.cli.positional_words import named
from trimer.errors import UsageError


def test_words_get_their_keys_in_order():
    assert named("diff", ["runs/a", "all=true", 'runs/"b"']) == ['run="runs/a"', 'other="runs/\\"b\\""', "all=true"]
    assert named("train", ["seed"]) == ["seed"]


def test_a_folder_with_an_equals_sign_is_a_value(empty_folder):
    (empty_folder / "lr=0.1").mkdir()
    assert named("reproduce", ["lr=0.1"]) == ['run="lr=0.1"']


def test_keys_of_the_training_are_passed_on():
    words = named("reproduce", ["runs/a", "force=true", "paths.data=x", "logger=null", "~callbacks.best"])
    assert words == ['run="runs/a"', 'changes=["paths.data=x","logger=null","~callbacks.best"]', "force=true"]


def test_too_many_words_are_reported():
    with pytest.raises(UsageError, match=r"'c' is one argument too many: trimer diff <run> <other>"):
        named("diff", ["a", "b", "c"])
