"""Collision energies as laboratories write them: '40', '6V', '35 % (nominal)', 'Ramp 20-30 eV', 'HCD 30 NCE'."""

from __future__ import annotations

import functools
import re

_NUMBER = r"\d+(?:\.\d+)?"
_UNIT = r"(?:%|(?:k?e?v|volts?|nce)\b)"
_SERIES = rf"{_NUMBER}(?:\s*{_UNIT}?\s*(?:-|–|,|/|;|\bto\b|\band\b)\s*{_NUMBER})*"
_WITH_UNIT = re.compile(rf"({_SERIES})\s*{_UNIT}")
_BARE = re.compile(_SERIES)


@functools.lru_cache(maxsize=65536)
def parse_collision_energy(text: str | float | None) -> tuple[float | None, str | None]:
    """Value and unit of a collision energy: unit "eV", "NCE" (normalised, percent), or None where it is not stated.

    Volts are read as eV (the ions here are singly charged); "(nominal)" means normalised. A ramp, or a list of steps,
    is its mean. (None, None) where there is no single energy: no number, a choice ('15 or 30'), or a rule over m/z.
    """
    text = "" if text is None else str(text).strip().lower()
    if re.search(r"m/?z|\bor\b", text):
        return None, None
    text = re.sub(r"(\d),(\d)(?=\s*-)", r"\1.\2", text)  # decimal comma of one end of a ramp
    match = _WITH_UNIT.search(text)
    series = match.group(1) if match else (bare.group(0) if (bare := _BARE.search(text)) else "")
    numbers = [float(n) for n in re.findall(_NUMBER, series)]
    if not numbers:
        return None, None
    value = sum(numbers) / len(numbers)
    stated = match.group(0) if match else text
    volts = re.search(r"(?<![a-z])(k?)e?v(?:olts?)?(?![a-z])", stated)
    if re.search(r"%|(?<![a-z])nce(?![a-z])|normali[sz]ed", stated) or ("nominal" in text and not volts):
        return value, "NCE"
    if volts:
        return value * (1000 if volts.group(1) else 1), "eV"
    return value, None
