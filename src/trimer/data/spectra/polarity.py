"""Charge, ion mode and adduct of a spectrum agree, or the spectrum has a reason why it cannot be used."""

from __future__ import annotations

import functools

import numpy as np

from trimer.chemistry.adducts import parse_adduct
from trimer.data.text.charges import charge_choices

SIGNS = {"positive": 1, "negative": -1}


def reconcile(columns: dict[str, np.ndarray], beside_mass: np.ndarray | None = None) -> dict[int, str]:
    """Write the signed `charge` of each row; return a clause for each row that contradicts itself.

    columns: `charge_text`, `ion_mode` and `adduct` of n rows. A charge without a sign takes that of the ion mode;
    where the text leaves a choice ('2+ and 3+') the adduct decides, else the charge is 0 and the text stays.
    beside_mass: (n,) charge that stands within PEPMASS.
    """
    texts = columns["charge_text"]
    beside_mass = np.full(len(texts), None, dtype=object) if beside_mass is None else beside_mass
    rows = zip(texts, beside_mass, columns["ion_mode"], columns["adduct"], strict=True)
    found = [_charge(*row) for row in rows]
    columns["charge"] = np.array([charge for charge, _ in found], dtype=object)
    return {row: clause for row, (_, clause) in enumerate(found) if clause}


@functools.lru_cache(maxsize=4096)
def _charge(text: str | None, beside_mass: str | None, mode: str | None, adduct: str | None) -> tuple[int, str | None]:
    """The signed charge of a spectrum, 0 where it is not known, and what contradicts what."""
    sign, ion = SIGNS.get(mode or "", 0), parse_adduct(adduct)
    choices = charge_choices(text or "")
    if text and beside_mass and not possible(charge_choices(beside_mass), choices):
        return 0, f"the charge is '{text}', but PEPMASS says '{beside_mass}'"
    if ion is not None and ion.charge * sign < 0:
        return 0, f"the adduct '{adduct}' contradicts the ion mode {mode}"
    if ion is not None and choices and not possible([(abs(ion.charge), ion.charge)], choices):
        return 0, f"the adduct '{adduct}' contradicts the charge '{text}'"
    if ion is not None and choices:
        return ion.charge, None
    left = [(number, own or sign) for number, own in choices if own * sign >= 0]
    if choices and not left:
        return 0, f"the charge '{text}' contradicts the ion mode {mode}"
    return (left[0][0] * (left[0][1] or 1) if len(left) == 1 else 0), None


def possible(some, others) -> bool:
    """Whether two lists of (number, sign) share a charge; the sign 0 fits both signs."""
    return any(number == other and sign * own >= 0 for number, sign in some for other, own in others)
