"""The text that names a fragment beside its peak: `y3-H2O^2/0.01`, `b5-18^2`, `y3+1`, as libraries write it."""

from __future__ import annotations

import re
from functools import lru_cache

from trimer.peptides.fragment_ions import LOSSES
from trimer.peptides.modifications import parse_formula

NO_LOSS = frozenset({"", "noloss", "none", "na", "nan", "unknown"})
# mzPAF may put the number of the analyte in front (`1@y3`); a mass error or a confidence follows.
ANNOTATION = re.compile(
    r"(?:\d+@)?([abcxyz])(\d+)((?:-[A-Za-z0-9.]+)*)(?:\^\+?(\d+)|\+(\d+)|(\++))?(?:[/*].*)?", re.DOTALL
)
BYTES = re.compile(r"b'(.*)'")  # how Koina's client writes its texts to CSV
ISOTOPE = re.compile(r"\d*i(?:$|[/*^])|\^\d+i|\+\d*i")
NEAR, NEAR_WHOLE = 0.02, 0.5  # Da between the mass of a loss and what was lost
_BY_ATOMS = {frozenset(parse_formula(name) or ()): name for name in LOSSES if name}


@lru_cache(maxsize=1 << 16)
def read_annotation(text: str) -> tuple[str, int, int, str] | None:
    """Series, number, charge and loss of the first fragment that a text names; None where it names none.

    >>> read_annotation('"y3-18^2/0.01,b5"')
    ('y', 3, 2, 'H2O')
    """
    text = text.strip().strip('"')
    if match := BYTES.fullmatch(text):
        text = match[1]
    first = text.split(",")[0].split()[0] if text.strip() else ""
    match = ANNOTATION.fullmatch(first)
    if match is None or ISOTOPE.search(first.partition("/")[0]):
        return None
    series, number, lost, charge, plus, pluses = match.groups()
    losses = sorted(map(loss_name, filter(None, lost.split("-"))))
    return series, int(number), int(charge or plus or len(pluses or "+")), "+".join(losses)


@lru_cache(maxsize=1 << 12)
def loss_name(text: str | None) -> str:
    """What a fragment has lost, by one name: `H3PO4` for `-98`, `97.9769` and `H3O4P1`; "" for nothing."""
    text = (text or "").strip().lstrip("-")
    if text.lower() in NO_LOSS:
        return ""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        near = NEAR if "." in text else NEAR_WHOLE
        return next((name for name, mass in LOSSES.items() if name and abs(mass - float(text)) <= near), text)
    return _BY_ATOMS.get(frozenset(parse_formula(text) or ()), text)
