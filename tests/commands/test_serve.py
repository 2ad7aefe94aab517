"""`trimer serve` without its packages, or with wrong settings."""

from __future__ import annotations

import sys

import pytest

from trimer.cli.configs import compose
from trimer.commands.serve import main
from trimer.errors import CheckpointError, ConfigError


def test_missing_packages_are_named_with_their_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("trimer.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"trimer serve needs uvicorn: pip install 'trimer\[serve\]'"):
        main(compose("serve"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["limits.records=0"], r"limits\.records=0 must be a number above 0"),
        (["+limits.record=3"], r"limits\.record is not a setting of trimer serve; did you mean limits.records|record"),
        (["tokens_per_batch=0"], "tokens_per_batch=0 must be 1 or more"),
        (["ckpt=[]"], "names no model"),
    ],
)
def test_wrong_settings_are_reported_before_the_server_starts(words, sentence):
    pytest.importorskip("fastapi")
    with pytest.raises(ConfigError, match=sentence):
        main(compose("serve", ["jobs.folder=null", *words]))


def test_an_unknown_name_is_reported_with_the_nearest_one():
    pytest.importorskip("fastapi")
    with pytest.raises(CheckpointError, match="did you mean peptide-rt"):
        main(compose("serve", ["jobs.folder=null", "ckpt=peptide_rt"]))
