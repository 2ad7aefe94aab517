"""Charges read from text."""

from __future__ import annotations

import functools
import re

_CHARGE = re.compile(r"([+-]?)(\d+)(?:\.0+)?([+-]?)(?!\d)")


@functools.lru_cache(maxsize=1024)
def charge_choices(text: str) -> tuple[tuple[int, int], ...]:
    """Possible charges in a text, as (number, sign): (1, +1) for '1+', (2, 0) for '2', two choices for '2+ and 3+'.

    The sign is 0 if none is stated. Empty if there is no charge, or the charge is 0.
    """
    text = text.strip().replace("−", "-")
    if text in ("+", "-"):
        return ((1, int(text + "1")),)
    choices = []
    for before, number, after in _CHARGE.findall(text):
        sign = before or after
        choices.append((int(number), int(f"{sign}1") if sign else 0))
    return tuple(choice for choice in choices if 0 < choice[0] < 1000)


@functools.lru_cache(maxsize=1024)
def parse_charge(text: str) -> int | None:
    """Signed charge of '2+', '+2', '2' or '1-'; 0 if the text leaves a choice ('2+ and 3+'), None if it has none."""
    choices = charge_choices(text)
    if len(choices) == 1:
        number, sign = choices[0]
        return -number if sign < 0 else number
    return 0 if choices or any(int(digits) == 0 for digits in re.findall(r"\d+", text)) else None
