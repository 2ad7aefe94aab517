"""Trimer: language models of mass spectra, molecules, proteins and peptides, composed from configs.

import trimer

model = trimer.load("runs/foodb/superclass/<run>")
model.predict(["CCO", "c1ccccc1O"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from trimer.api import embed, evaluate, load, predict, train
    from trimer.building import allow, build
    from trimer.cli.configs import compose
    from trimer.data.spectra.readers import read_spectra
    from trimer.plugins import load_plugin

# Public name: the module that holds it. Imported when it is first used: `import trimer` itself takes no time.
_HOMES = {
    "allow": "trimer.building",
    "build": "trimer.building",
    "compose": "trimer.cli.configs",
    "embed": "trimer.api",
    "evaluate": "trimer.api",
    "load": "trimer.api",
    "load_plugin": "trimer.plugins",
    "predict": "trimer.api",
    "read_spectra": "trimer.data.spectra.readers",
    "train": "trimer.api",
}

__all__ = ["allow", "build", "compose", "embed", "evaluate", "load", "load_plugin", "predict", "read_spectra", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trimer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
