"""Arguments of constructors: their names, the types that their annotations accept, and whether null is accepted."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

# Annotations whose values are checked, with their names in messages.
SIMPLE = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "null"}

# The default of a keyword argument that a constructor passes on to its base class.
PASSED_ON = object()


def parameters_of(target: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a target; `**settings: Unpack[Settings]` is replaced by the keys of the TypedDict."""
    parameters = dict(inspect.signature(target).parameters)
    for name, described in described_keywords(target).items():
        del parameters[name]
        for keyword in described.__annotations__:
            default = inspect.Parameter.empty if keyword in described.__required_keys__ else PASSED_ON
            parameters[keyword] = inspect.Parameter(keyword, inspect.Parameter.KEYWORD_ONLY, default=default)
    return parameters


def described_keywords(target: Any) -> dict[str, Any]:
    """`settings` -> the TypedDict of `**settings: Unpack[Settings]`; at most one entry."""
    return {
        name: typing.get_args(hint)[0]
        for name, hint in type_hints(target).items()
        if typing.get_origin(hint) is typing.Unpack
    }


def type_hints(target: Any) -> dict[str, Any]:
    """The annotations of the arguments; empty if they use names that are imported for type checkers only."""
    try:
        return typing.get_type_hints(getattr(target, "__init__") if isinstance(target, type) else target)  # noqa: B009
    except (AttributeError, NameError, TypeError):
        return {}


def annotated_types(target: Any) -> dict[str, set[type]]:
    """The accepted types of each annotated argument."""
    hints = type_hints(target)
    for described in described_keywords(target).values():
        hints |= typing.get_type_hints(described)
    unions = (typing.Union, types.UnionType)
    return {
        name: set(typing.get_args(hint) if typing.get_origin(hint) in unions else [hint])
        for name, hint in hints.items()
    }


def needs_value(parameter: inspect.Parameter, hints: dict[str, set[type]]) -> bool:
    """Whether null is not accepted: the argument has neither default nor type, or a type without null."""
    if parameter.default is None or not (hints.get(parameter.name) or parameter.default is inspect.Parameter.empty):
        return False
    return not hints.get(parameter.name, set()) & {types.NoneType, typing.Any, object}


def has_type(value: Any, members: set[type] | None, default: Any) -> bool:
    """Whether a value of the config has one of the types; a number is accepted as text, and 1.0 as 1."""
    if members is None or (value is None and default is None):
        return True
    if isinstance(value, bool) or value is None:
        return type(value) in members
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) or value.is_integer()
        return bool(members & {float, str}) or (int in members and whole)
    return isinstance(value, str) and str in members


def type_names(members: set[type]) -> str:
    """The types as text: `a whole number or null`."""
    return " or ".join(words for kind, words in SIMPLE.items() if kind in members)
