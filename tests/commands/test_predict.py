"""`trimer predict` with a predictor of the user."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trimer import public_classifier
from trimer.cli.configs import compose
from trimer.commands.predict import main
from trimer.errors import ConfigError
from trimer.serving.models import ServedModel
from trimer.studies.study import Study


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


def test_a_predictor_of_the_protocol_alone_is_not_served(tmp_path):
    class OnlyPythonStudy(Study):
        def predictor(self, cfg):
            return OnlyInPython()

    path = tmp_path / "mine.ckpt"
    path.write_bytes(b"weights")
    loaded = SimpleNamespace(contract={}, path=path)
    loaded.study = OnlyPythonStudy(loaded)
    served = ServedModel("mine", SimpleNamespace(loaded=loaded, path=path, atoms=False), compose("serve", []).trainer)
    assert served.operations == ["predict"]
    with pytest.raises(ConfigError, match="its predictor OnlyInPython cannot be served: let the class inherit"):
        served.computer("predict", {})
