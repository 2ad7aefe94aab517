"""The cells of a table of peptides: retention times, charges, and the charges that a peptide was seen with."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

CHARGES = tuple("123456")
UNIT = re.compile(r"-?[\d.]+\s*(?:min|minutes|s|sec|seconds)", re.I)
ReadValue = Callable[[str | None], str | None]


class BadValue(ValueError):
    """A cell that is no retention time or no charge; the message is the reason."""


def read_nothing(cell: str | None) -> None:
    return None


def read_retention(cell: str | None) -> str | None:
    """A finite number as text; None for an empty cell."""
    if cell is None:
        return None
    try:
        finite = math.isfinite(float(cell))
    except ValueError:
        finite = False
    if finite:
        return cell
    hint = ""
    if UNIT.fullmatch(cell):
        hint = ": write it without its unit"
    elif re.fullmatch(r"\d+:\d+(?::\d+)?", cell):
        hint = ": write it as one number, of minutes or seconds"
    elif "," in cell:
        hint = ": write a point before the decimals, and nothing between thousands"
    raise BadValue(f"retention {cell} is no number{hint}")


def read_charge(cell: str | None) -> str | None:
    """`2`, `+2`, `2+` or `2.0` as `2`; None for an empty cell."""
    if cell is None:
        return None
    whole = cell.removesuffix(".0").removeprefix("+").removesuffix("+")
    if not (whole.isdecimal() and int(whole)):
        several = re.fullmatch(r"\d+(?:\s*(?:[;,]|and)\s*\d+)+", cell)
        why = "names several: give each a row of its own" if several else "is no whole number above 0"
        raise BadValue(f"charge {cell} {why}")
    return str(int(whole))


def read_charge_to_6(cell: str | None) -> str | None:
    """A charge that is one of CHARGES."""
    found = read_charge(cell)
    if found is not None and found not in CHARGES:
        raise BadValue(f"charge {found} is above {CHARGES[-1]}")
    return found


def read_observed(cell: str | None) -> str | None:
    """A list of 0 and 1 for charge 1, 2, ... as the charges with a 1: `2,3`."""
    if cell is None:
        return None
    try:
        flags = json.loads(cell)
        seen = [str(number) for number, flag in enumerate(flags, 1) if flag]
    except (ValueError, TypeError):
        seen = []
    if not seen or seen[-1] not in CHARGES:
        raise BadValue(f"charges {cell} are no list of at most 6 times 0 or 1, with a 1 in it")
    return ",".join(seen)
