"""The search space of a sweep: the settings that a search chooses, in Hydra's sweep syntax.

key=a,b,c  key=choice(a,b,c)  key=glob(*)   one of several values, or options of a group
key=range(2,8)  key=range(0,1,0.1)          numbers at equal steps, without the upper end
key=interval(0.0,0.5)                       any number in between
key=int(interval(1,100))                    any whole number in between, both ends included
key=tag(log,interval(1e-5,1e-2))            the same, uniform in the logarithm
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimer.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """One of several values, as the texts of overrides."""

    values: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As plain values, to compare two search spaces."""
        return {"choice": list(self.values)}

    def first(self) -> str:
        """A value of the space, to check that the config composes."""
        return self.values[0]

    def to_optuna(self) -> Any:
        """The distribution of Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def to_wandb(self) -> dict[str, Any]:
        """The parameter of a W&B sweep; numbers as numbers, so that its charts have an axis."""
        return {"values": [_number(text) for text in self.values]}


@dataclass(frozen=True)
class Range:
    """A number from low to high, both included.

    step: distance of the values, or None. log: uniform in the logarithm.
    """

    low: float
    high: float
    step: float | None
    log: bool

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    def facts(self) -> dict[str, Any]:
        """As plain values, to compare two search spaces."""
        return {"low": self.low, "high": self.high, "step": self.step, "log": self.log}

    def first(self) -> str:
        """A value of the space, to check that the config composes."""
        return repr(self.low)

    def to_optuna(self) -> Any:
        """The distribution of Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def to_wandb(self) -> dict[str, Any]:
        """The parameter of a W&B sweep."""
        if self.step is not None and not self.log and self.step != 1:
            count = round((self.high - self.low) / self.step) + 1
            return {"values": [_rounded(self.low + number * self.step) for number in range(count)]}
        ends = {"min": self.low, "max": self.high}
        if self.log:
            if self.whole:
                return {"distribution": "q_log_uniform_values", **ends, "q": 1}
            return {"distribution": "log_uniform_values", **ends}
        return {"distribution": "int_uniform" if self.whole else "uniform", **ends}


Dimension = Choice | Range


def search_space(overrides: Sequence[str], loader: Any) -> tuple[dict[str, Dimension], list[str]]:
    """The searched settings by key, and the other overrides; the last override of a key counts.

    loader: Hydra's config loader, for globs. ConfigError for a sweep that a search cannot use, or if none is searched.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    space: dict[str, Dimension] = {}
    fixed: dict[str, str] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        key = override.get_key_element()
        space.pop(key, None)
        fixed.pop(key, None)
        if override.is_sweep_override():
            space[key] = _dimension(override)
        else:
            deleted = override.is_delete()
            fixed[key] = override.input_line if deleted else f"{key}={override.get_value_element_as_str()}"
    if not space:
        raise ConfigError(
            "the search has no search space: give at least one setting several values, such as "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-2))' or model=smiles_nano,smiles_small"
        )
    return space, list(fixed.values())


def _dimension(override: Any) -> Dimension:
    text, value = override.input_line, override.value()
    if override.is_choice_sweep():
        values = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not values:
            raise ConfigError(f"{text} has no value to choose from")
        return Choice(values)
    log = "log" in value.tags
    if override.is_interval_sweep():
        dimension = Range(value.start, value.end, None, log)
    else:
        numbers = [value for value in override.sweep_iterator()]
        if not numbers:
            raise ConfigError(f"{text} has no value to choose from")
        dimension = Range(min(numbers), max(numbers), abs(value.step), log)
    if dimension.low > dimension.high:
        raise ConfigError(f"{text}: the lower end must come first")
    if log and dimension.low <= 0:
        raise ConfigError(f"{text}: a logarithm needs numbers above 0")
    if log and dimension.step not in (None, 1):
        raise ConfigError(f"{text}: a logarithmic range cannot have steps; use tag(log, interval(...))")
    return dimension


def _rounded(value: float) -> float:
    """Without the rounding error of a sum of steps."""
    return value if isinstance(value, int) else float(f"{value:.12g}")


def _number(text: str) -> float | str:
    """The number that a text is, else the text."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text
