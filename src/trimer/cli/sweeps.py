"""Checks of a sweep before its jobs start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimer.errors import UsageError


def check_sweep(loader: Any, overrides: Sequence[str]) -> None:
    """UsageError for an override without any value, such as a glob that matches no option: there would be no job."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob

    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        if not override.is_discrete_sweep() or next(iter(override.sweep_iterator()), None) is not None:
            continue
        if isinstance(override.value(), Glob):
            options = ", ".join(loader.get_group_options(override.key_or_group))
            raise UsageError(f"{override.input_line} matches no option; there are {options}")
        raise UsageError(f"{override.input_line} has no value, so the sweep would have no job")
