"""The ranking of molecules during training."""

from types import SimpleNamespace

import pytest

from trimer.callbacks.rank_molecules import RankMolecules
from trimer.errors import ConfigError


def test_data_without_molecules_are_rejected_at_the_start():
    callback = RankMolecules()
    callback.setup(SimpleNamespace(datamodule=SimpleNamespace(has_labels=True)), None, "fit")
    with pytest.raises(ConfigError, match="use callbacks=default"):
        callback.setup(SimpleNamespace(datamodule=SimpleNamespace(has_labels=False)), None, "fit")
