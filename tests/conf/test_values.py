"""Each value has one owner: YAML files and constructor defaults do not differ.

The YAML files own what users tune. A constructor keeps a default for callers in Python and for checkpoints that are
older than a key, and it is then the value of the YAML file; null in a file says that something is off, so that the key
is found. Where files are a choice between values (sizes of models, shares of masks), the default is one of them.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest
from omegaconf import OmegaConf

from trimer.building import located
from trimer.cli.configs import shipped_folder

DUPLICATES = 166  # values in YAML that repeat a default; lower the number when one is removed, a new one is a decision


def defaults_of(target: type) -> dict[str, Any]:
    """The default of each argument that has one; forwarded arguments have the defaults of the base class."""
    defaults: dict[str, Any] = {}
    for owner in target.__mro__ if isinstance(target, type) else [target]:
        call = owner.__dict__.get("__init__") if isinstance(owner, type) else owner
        if call is None or not hasattr(call, "__code__"):
            continue
        parameters = inspect.signature(call).parameters.values()
        for parameter in parameters:
            if parameter.default is not inspect.Parameter.empty:
                defaults.setdefault(parameter.name, parameter.default)
        if inspect.Parameter.VAR_KEYWORD not in {parameter.kind for parameter in parameters}:
            break
    if is_dataclass(target):
        defaults |= {
            field.name: field.default_factory() for field in fields(target) if field.default_factory is not MISSING
        }
    return defaults


def stated(node: Any, key: str) -> Iterator[tuple[str, str, Any]]:
    """Dotted key, target and value of each argument of the nodes with a Trimer target."""
    if isinstance(node, list):
        for number, value in enumerate(node):
            yield from stated(value, f"{key}[{number}]")
    if not isinstance(node, dict):
        return
    target = node.get("_target_")
    for name, value in node.items():
        inner = f"{key}.{name}" if key else name
        interpolated = isinstance(value, str) and ("${" in value or value == "???")
        if isinstance(target, str) and target.startswith("trimer.") and not interpolated and name[0] != "_":
            yield inner, target, value
        yield from stated(value, inner)


def plain(value: Any) -> Any:
    """Lists for tuples, and null for empty values, which constructors treat alike."""
    if isinstance(value, (list, tuple)):
        value = [plain(part) for part in value]
    return None if value in ([], {}, "") else value


def values() -> dict[tuple[str, str], dict[str, Any]]:
    """(target, argument with a default) -> where it is stated -> value."""
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for path in sorted(shipped_folder().rglob("*.yaml")):
        name = str(path.relative_to(shipped_folder()))
        for key, target, value in stated(OmegaConf.to_container(OmegaConf.load(path)), ""):
            argument = key.rpartition(".")[2]
            if argument in defaults_of(located(target, key)):
                found[target, argument][f"{name}: {key}"] = plain(value)
    return found


VALUES = values()


@pytest.mark.parametrize(("target", "argument"), sorted(VALUES), ids=lambda value: value.rpartition(".")[2])
def test_config_values_equal_constructor_defaults(target, argument):
    default = plain(defaults_of(located(target, ""))[argument])
    places = VALUES[target, argument]
    choices = [value for value in places.values() if value is not None]
    if default is None or not choices:  # off unless a file says so
        return
    assert default in choices, f"{target}({argument}={default}) by default, and in YAML {places}: state it once"
    different = {place: value for place, value in places.items() if value != default}
    assert not different or len({repr(value) for value in choices}) > 1, f"default {default}, {different}"


def test_the_number_of_repeated_defaults_does_not_grow():
    repeated = [
        (place, value)
        for (target, argument), places in VALUES.items()
        for place, value in places.items()
        if value is not None and value == plain(defaults_of(located(target, ""))[argument])
    ]
    assert len(repeated) <= DUPLICATES, f"{len(repeated)} values repeat a default"
