"""Constructor arguments as plain values: how a checkpoint describes an object that was created in Python.

A run from the command line has a config. An object that a script creates has only its arguments. Here they are recorded
as a config: `_target_` and plain values from which `trimer.building.build` builds the same object again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Undescribed:
    """A placeholder for a value that a config cannot hold. kind: the class of the value."""

    kind: str


class KeepsArguments:
    """Base class of objects that record the arguments of their constructor, as the config `made_with`.

    A custom network that subclasses this (`class MyNet(KeepsArguments, nn.Module)`) can be rebuilt from a checkpoint of
    a plain Lightning trainer.
    """

    made_with: dict[str, Any]

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        self = super().__new__(cls)
        # Through __dict__: an nn.Module rejects attributes before its __init__ has run.
        self.__dict__["made_with"] = _config(cls, _named(cls, args, keywords))
        return self


def config_of(value: Any) -> Any:
    """The value as a config, with `Undescribed` for values that a config cannot hold.

    An object is described by its method `to_config()`, its attribute `made_with`, its fields if it is a dataclass, or
    attributes named like the arguments of its constructor, as in scikit-learn.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): config_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [config_of(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return config_of(value.item())
    if hasattr(value, "to_config"):
        return value.to_config()
    if hasattr(value, "made_with"):
        return dict(value.made_with)
    if isinstance(value, functools.partial):
        return {**_config(value.func, value.keywords), "_partial_": True} if not value.args else _undescribed(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _config(type(value), {field.name: getattr(value, field.name) for field in fields(value) if field.init})
    return _by_attributes(value)


def undescribed(config: Any, key: str = "") -> Iterator[str]:
    """The keys of values that a config cannot hold, with their classes: `source (MySource)`."""
    if isinstance(config, Undescribed):
        yield f"{key or 'it'} ({config.kind})"
    elif isinstance(config, dict):
        for name, value in config.items():
            yield from undescribed(value, f"{key}.{name}" if key else name)
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from undescribed(value, f"{key}[{number}]")


def without_undescribed(config: Any) -> Any:
    """The config with null for values that a config cannot hold."""
    if isinstance(config, Undescribed):
        return None
    if isinstance(config, dict):
        return {name: without_undescribed(value) for name, value in config.items()}
    return [without_undescribed(value) for value in config] if isinstance(config, list) else config


def _config(target: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    config = {name: config_of(value) for name, value in arguments.items()}
    return {"_target_": f"{target.__module__}.{target.__qualname__}", **config}


def _named(cls: type, args: tuple, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, with the defaults of the class; *args get the names of the base class's arguments.

    Empty for a call that __init__ rejects, and for a copy, which is created without arguments.
    """
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    try:
        bound = inspect.signature(owner.__init__).bind(None, *args, **keywords)  # type: ignore[misc]
    except (TypeError, ValueError):
        return {}
    bound.apply_defaults()
    named: dict[str, Any] = {}
    rest: tuple = ()
    for name, value in list(bound.arguments.items())[1:]:
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            rest = value
        else:
            named |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    if rest:
        base = cls.__mro__[cls.__mro__.index(owner) + 1]
        parent = next(other for other in base.__mro__ if "__init__" in vars(other))
        names = list(inspect.signature(parent.__init__).parameters)[1:]  # type: ignore[misc]
        named |= dict(zip(names, rest, strict=False))
    return named


def _by_attributes(value: Any) -> Any:
    """The config of an object that stores each argument in an attribute of the same name."""
    kind = type(value)
    if kind.__module__ == "builtins":
        return _undescribed(value)
    try:
        parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    except ValueError:  # written in C, without a signature
        return _undescribed(value)
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    if any(parameter.kind in variable for parameter in parameters):
        return _undescribed(value)
    attributes = getattr(value, "__dict__", {})
    arguments = {parameter.name: attributes.get(parameter.name, value) for parameter in parameters}
    if any(argument is value for argument in arguments.values()):  # an argument without an attribute
        return _undescribed(value)
    return _config(kind, arguments)


def _undescribed(value: Any) -> Undescribed:
    return Undescribed(f"{type(value).__module__}.{type(value).__qualname__}")
