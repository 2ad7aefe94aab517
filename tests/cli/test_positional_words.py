"""Words without a key: which keys they get, and what a reproduction passes on to the training."""

from __future__ import annotations

import pytest

from trimer.cli.positional_words import named, with_values
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


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        (["port=1", "ckpt=spectrums", "peptide-rt"], ["port=1", 'ckpt=[spectrums,"peptide-rt"]']),
        (["ckpt=[spectrums,membrane]", "runs/a b"], ['ckpt=[spectrums,membrane,"runs/a b"]']),
        (["ckpt=spectrums", "ckpt=membrane"], ["ckpt=[spectrums,membrane]"]),
        (["ckpt=null", "membrane"], ['ckpt=["membrane"]']),
        (["membrane"], ['ckpt="membrane"']),
        (["ckpt=membrane", "~trainer"], ["ckpt=membrane", "~trainer"]),
        (["ckpt=[]"], ["ckpt=[]"]),
    ],
)
def test_a_command_that_takes_any_number_of_words_gets_all_of_them(words, overrides):
    assert with_values("serve", words) == overrides


def test_no_folder_of_a_report_is_lost():
    assert with_values("report", ["input=runs/a", "runs/b", "output=x.html"]) == [
        "output=x.html", 'input=[runs/a,"runs/b"]'
    ]  # fmt: skip
    assert with_values("train", ["seed"]) == ["seed"]
