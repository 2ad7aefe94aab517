"""`trimer predict` with a predictor of the user."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trimer import public_classifier
from trimer.cli.configs import compose
from trimer.commands.predict import main
from trimer.errors import ConfigError


class OnlyInPython:
    """The members of the protocol, which are enough for `trimer.load(...).predict(...)`."""

    columns, plural = ("row", "reason"), "records"

    def read(self, path):
        return iter(())

    def records(self, values):
        return values

    def predict(self, records):
        return iter(())


def test_a_predictor_that_writes_no_files_gives_one_sentence(empty_folder, monkeypatch):
    study = SimpleNamespace(predictor=lambda cfg: OnlyInPython())
    monkeypatch.setattr(public_classifier, "load_any", lambda path: SimpleNamespace(study=study))
    cfg = compose("predict", ["ckpt=runs/mine", "input=a.csv", "output=b.csv"])
    with pytest.raises(ConfigError, match=r"ckpt=runs/mine: its predictor OnlyInPython writes no files: let the class"):
        main(cfg)
