"""Charges from text."""

from __future__ import annotations

import functools
import re

_SEVERAL_CHARGES = re.compile(r"\d\D+\d")


@functools.lru_cache(maxsize=1024)
def parse_charge(text: str) -> int | None:
    """Signed charge of '2+', '+2', '2' or '1-'; 0 where the file leaves a choice ('2+ and 3+')."""
    digits = re.findall(r"\d+", text)
    if not digits:
        return {"+": 1, "-": -1}.get(text.strip())
    if _SEVERAL_CHARGES.search(text.replace(".0", "")):
        return 0
    charge = int(digits[0])
    return (-charge if "-" in text else charge) if charge < 1000 else None
