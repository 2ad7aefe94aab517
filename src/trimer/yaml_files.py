"""YAML files of runs, read fast: by the C parser of PyYAML where it is installed, with the numbers of OmegaConf."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# A number without a point, such as 1e-3, is a text in YAML 1.1 and a number in Hydra's configs.
FLOAT = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+")


@cache
def loader() -> Any:
    """The safe loader of PyYAML that reads `1e-3` as a number and keeps dates as texts."""
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    made: Any = type("Loader", (base,), {})
    made.yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in entries if tag != "tag:yaml.org,2002:timestamp"]
        for letter, entries in base.yaml_implicit_resolvers.items()
    }
    made.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^{FLOAT.pattern}$"), list("-+0123456789."))
    return made


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file; yaml.YAMLError if it is not YAML."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=loader())
