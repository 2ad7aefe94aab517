"""Consistency of charge, ion mode and adduct of a spectrum."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from trimer.chemistry.adducts import parse_adduct
from trimer.data.text.charges import charge_choices

SIGNS = {"positive": 1, "negative": -1}


def reconcile(columns: dict[str, np.ndarray], beside_mass: np.ndarray | None = None) -> dict[int, str]:
    """Set the signed `charge` of each row; returns row -> reason for rows with contradictory values.

    columns: `charge_text`, `ion_mode` and `adduct` of n rows. A charge without a sign gets the sign of the ion mode; if
    the text leaves a choice ('2+ and 3+'), the adduct decides, else the charge is 0. beside_mass: (n,) charge texts
    from PEPMASS, or None.
    """
    texts = columns["charge_text"]
    beside_mass = np.full(len(texts), None, dtype=object) if beside_mass is None else beside_mass
    rows = zip(texts, beside_mass, columns["ion_mode"], columns["adduct"], strict=True)
    charges = [_charge(*row) for row in rows]
    columns["charge"] = np.array([charge for charge, _ in charges], dtype=object)
    return {row: clause for row, (_, clause) in enumerate(charges) if clause}


@functools.lru_cache(maxsize=4096)
def _charge(text: str | None, beside_mass: str | None, mode: str | None, adduct: str | None) -> tuple[int, str | None]:
    """The signed charge of a spectrum, 0 if unknown, and the contradiction, if any."""
    sign, ion = SIGNS.get(mode or "", 0), parse_adduct(adduct)
    choices = charge_choices(text or "")
    if text and beside_mass and not share_charge(charge_choices(beside_mass), choices):
        return 0, f"the charge is '{text}', but PEPMASS says '{beside_mass}'"
    if ion is not None and ion.charge * sign < 0:
        return 0, f"the adduct '{adduct}' contradicts the ion mode {mode}"
    if ion is not None and choices and not share_charge([(abs(ion.charge), ion.charge)], choices):
        return 0, f"the adduct '{adduct}' contradicts the charge '{text}'"
    if ion is not None and choices:
        return ion.charge, None
    consistent = [(number, stated or sign) for number, stated in choices if stated * sign >= 0]
    if choices and not consistent:
        return 0, f"the charge '{text}' contradicts the ion mode {mode}"
    return (consistent[0][0] * (consistent[0][1] or 1) if len(consistent) == 1 else 0), None


def share_charge(some: Iterable[tuple[int, int]], others: Sequence[tuple[int, int]]) -> bool:
    """Whether two lists of (number, sign) have a charge in common; the sign 0 matches both signs."""
    return any(number == other and sign * other_sign >= 0 for number, sign in some for other, other_sign in others)
