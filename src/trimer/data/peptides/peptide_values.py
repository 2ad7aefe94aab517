"""Reads the cells of peptide tables: retention times, charges, and lists of observed charges."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

CHARGES = tuple("123456")
CHARGE_DIGITS = 3  # a number with more is not a charge, and Python does not read thousands of digits
UNIT = re.compile(r"-?[\d.]+\s*(?:min|minutes|s|sec|seconds)", re.I)
ReadValue = Callable[[str | None], str | None]


class BadValue(ValueError):
    """A cell is not a retention time or not a charge; the message is the reason."""


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
        hint = ": write it as one number, in minutes or seconds"
    elif "," in cell:
        hint = ": use a decimal point, and no thousands separator"
    raise BadValue(f"retention {cell} is not a number{hint}")


def is_charge(text: str) -> bool:
    """Whether a text is a whole number above 0, and no number that no ion can have."""
    return text.isascii() and text.isdecimal() and len(text) <= CHARGE_DIGITS and int(text) > 0


def read_charge(cell: str | None) -> str | None:
    """`2`, `+2`, `2+` or `2.0` as `2`; None for an empty cell."""
    if cell is None:
        return None
    whole = cell.removesuffix(".0").removeprefix("+").removesuffix("+")
    if not is_charge(whole):
        several = re.fullmatch(r"\d+(?:\s*(?:[;,]|and)\s*\d+)+", cell)
        why = "lists several charges: write one row for each" if several else "is not a whole number above 0"
        raise BadValue(f"charge {cell} {why}")
    return str(int(whole))


def read_charge_to_6(cell: str | None) -> str | None:
    """A charge from 1 to 6."""
    charge = read_charge(cell)
    if charge is not None and charge not in CHARGES:
        raise BadValue(f"charge {charge} is above {CHARGES[-1]}")
    return charge


def read_observed(cell: str | None) -> str | None:
    """Observed charges, such as `2,3`, from a list of 0 and 1 for charge 1, 2, ..."""
    if cell is None:
        return None
    try:
        flags = json.loads(cell)
        seen = [str(number) for number, flag in enumerate(flags, 1) if flag]
    except (ValueError, TypeError):
        seen = []
    if not seen or seen[-1] not in CHARGES:
        raise BadValue(f"charges {cell} is not a list of at most six 0 and 1 with at least one 1")
    return ",".join(seen)
