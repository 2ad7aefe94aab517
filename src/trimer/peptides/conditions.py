"""How a peptide was measured, as numbers: its charge, the collision energy, the instrument.

Shapes: B measurements, C = 18 numbers of each: charge 1 to 8 as one of eight, energy in units of 100 and whether it is
known, and one of seven kinds of instrument or none of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHARGES = 8
# What a vendor's name contains, in lower case -> the kind of instrument.
INSTRUMENTS = {
    "astral": "Astral", "timstof": "timsTOF", "tripletof": "SciexTOF", "zenotof": "SciexTOF", "sciex": "SciexTOF",
    "lumos": "Lumos", "eclipse": "Lumos", "ascend": "Lumos", "fusion": "Lumos", "exploris": "QE",
    "q exactive": "QE", "qexactive": "QE", "qe": "QE", "velos": "Velos", "elite": "Velos", "thermotof": "ThermoTOF",
}  # fmt: skip
KINDS = ("QE", "Lumos", "Astral", "timsTOF", "SciexTOF", "Velos", "ThermoTOF")
CONDITIONS = CHARGES + 2 + len(KINDS) + 1


def instrument_kind(name: str | None) -> str | None:
    """The kind that a name means, as `Q Exactive HF-X` is a QE; None where it is not known."""
    text = (name or "").lower()
    return next((kind for part, kind in INSTRUMENTS.items() if part in text), None)


def condition_vectors(charge: np.ndarray, energy: np.ndarray, instrument: Sequence[str | None]) -> np.ndarray:
    """(B, C) float32. charge: (B,) 1 to 8. energy: (B,) normalised, in per cent, NaN where it is not known."""
    out = np.zeros((len(charge), CONDITIONS), np.float32)
    rows = np.arange(len(charge))
    out[rows, np.asarray(charge, np.int64) - 1] = 1
    known = ~np.isnan(energy)
    out[known, CHARGES] = energy[known] / 100
    out[known, CHARGES + 1] = 1
    kinds = [instrument_kind(name) for name in instrument]
    numbers = [KINDS.index(kind) if kind else len(KINDS) for kind in kinds]
    out[rows, CHARGES + 2 + np.array(numbers, np.int64)] = 1
    return out
