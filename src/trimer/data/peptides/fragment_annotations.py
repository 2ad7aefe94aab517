"""Fragment annotations of peaks in spectral libraries: `y3-H2O^2/0.01`, `b5-18^2`, `y3+1`."""

from __future__ import annotations

import re
from functools import lru_cache

from trimer.peptides.fragment_ions import LOSSES
from trimer.peptides.modifications import parse_formula

NO_LOSS = frozenset({"", "noloss", "none", "na", "nan", "unknown"})
# mzPAF may start with the number of the analyte (`1@y3`) and end with a mass error or a confidence.
ANNOTATION = re.compile(
    r"(?:\d+@)?([abcxyz])(\d+)((?:-[A-Za-z0-9.]+)*)(?:\^\+?(\d+)|\+(\d+)|(\++))?(?:[/*].*)?", re.DOTALL
)
BYTES = re.compile(r"b'(.*)'")  # how Koina's client writes text to CSV
ISOTOPE = re.compile(r"\d*i(?:$|[/*^])|\^\d+i|\+\d*i")
NEAR, NEAR_WHOLE = 0.02, 0.5  # tolerance in Da for a loss given as a mass, with and without decimals
_BY_ATOMS = {frozenset(parse_formula(name) or ()): name for name in LOSSES if name}


@lru_cache(maxsize=1 << 16)
def read_annotation(text: str) -> tuple[str, int, int, str] | None:
    """Series, number, charge and loss of the first fragment in an annotation; None if there is none.

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
    series, number, loss, charge, plus, pluses = match.groups()
    losses = sorted(map(loss_name, filter(None, loss.split("-"))))
    return series, int(number), int(charge or plus or len(pluses or "+")), "+".join(losses)


@lru_cache(maxsize=1 << 12)
def loss_name(text: str | None) -> str:
    """Standard name of a neutral loss: `H3PO4` for `-98`, `97.9769` and `H3O4P1`; "" for none."""
    text = (text or "").strip().lstrip("-")
    if text.lower() in NO_LOSS:
        return ""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        tolerance = NEAR if "." in text else NEAR_WHOLE
        return next((name for name, mass in LOSSES.items() if name and abs(mass - float(text)) <= tolerance), text)
    return _BY_ATOMS.get(frozenset(parse_formula(text) or ()), text)
