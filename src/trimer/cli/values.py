"""Values of a composed config that are missing or refer to something that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trimer.errors import UsageError

if TYPE_CHECKING:
    from omegaconf.errors import InterpolationResolutionError


# Key -> its values, for the message that it is missing.
HINTS = {
    "data.source.paths": "your file",
    "data.source.labels": "columns of the labels",
    "data.target": "single: one of several classes; multi: yes or no for each label; regression: numbers; residue: a "
    "class for each residue",
}


def check_values(cfg: Any, command: str) -> None:
    """UsageError with all keys without a value (`???`), else with the first reference that cannot be resolved."""
    from omegaconf.errors import InterpolationResolutionError

    unresolved, missing = [], []
    for node, key, name in _leaves(cfg):
        if node._get_node(key)._is_missing():
            missing.append(name)
        else:
            unresolved.append((node, key))
    if missing:
        texts = [f"{name}=... ({HINTS[name]})" if name in HINTS else f"{name}=..." for name in missing]
        raise UsageError(f"trimer {command} needs {' and '.join(texts)}")
    for node, key in unresolved:
        try:
            node[key]
        except InterpolationResolutionError as error:
            raise UsageError(unresolved_reference(error)) from error


def unresolved_reference(error: InterpolationResolutionError, overrides: Sequence[str] = ()) -> str:
    """The sentence for a value such as `${x}` that cannot be resolved.

    overrides: of the command line; one that has the reference is named, even if another value depends on it.
    """
    key = error.full_key or "a value"
    reason = str(error).strip().splitlines()[0]
    if match := re.fullmatch(r"Interpolation key '(.*)' not found", reason):
        key = next((word.partition("=")[0] for word in overrides if f"${{{match[1]}}}" in word), key)
        reason = f"it refers to {match[1]!r}, and the config has no such key"
    elif match := re.fullmatch(r"Unsupported interpolation type (.*)", reason):
        reason = f"it uses the resolver {match[1]!r}, which does not exist"
    elif match := re.search(r"Environment variable '(.*)' not found", reason):
        reason = f"the environment variable {match[1]} is not set"
    return f"{key}: {reason}; write a value, or refer to an existing key, such as ${{seed}}"


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[Any, Any, str]]:
    """(container, key, full name) of every value that is missing or a reference."""
    from omegaconf import Container, DictConfig

    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        name = f"{prefix}[{key}]" if isinstance(key, int) else f"{prefix}.{key}" if prefix else str(key)
        if child._is_missing() or child._is_interpolation():
            yield node, key, name
        elif isinstance(child, Container) and not child._is_none():
            yield from _leaves(child, name)
