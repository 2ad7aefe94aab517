"""Acquisition conditions of a peptide as a vector: charge, collision energy, instrument.

Shapes: B measurements, C = 18 numbers each: charge 1 to 8 (one-hot), energy / 100, whether the energy is known, and
the instrument (one-hot: seven types and "unknown").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHARGES = 8
# Text in an instrument's name, in lower case -> instrument type.
INSTRUMENTS = {
    "astral": "Astral", "timstof": "timsTOF", "tripletof": "SciexTOF", "zenotof": "SciexTOF", "sciex": "SciexTOF",
    "lumos": "Lumos", "eclipse": "Lumos", "ascend": "Lumos", "fusion": "Lumos", "exploris": "QE",
    "q exactive": "QE", "qexactive": "QE", "qe": "QE", "velos": "Velos", "elite": "Velos", "thermotof": "ThermoTOF",
}  # fmt: skip
KINDS = ("QE", "Lumos", "Astral", "timsTOF", "SciexTOF", "Velos", "ThermoTOF")
CONDITIONS = CHARGES + 2 + len(KINDS) + 1
# Acquisition condition -> lower-case names of its column in tables of peptides and metadata of other packages.
CONDITION_COLUMNS = {
    "charge": ("charge", "precursor_charge", "precursorcharge", "precursor_charges", "z"),
    "energy": ("nce", "collision_energy", "collision_energies", "collisionenergy", "energy"),
    "instrument": ("instrument", "instrument_types"),
}


def instrument_kind(name: str | None) -> str | None:
    """The type of an instrument, such as QE for `Q Exactive HF-X`; None if it is unknown."""
    text = (name or "").lower()
    return next((kind for part, kind in INSTRUMENTS.items() if part in text), None)


def condition_vectors(charge: np.ndarray, energy: np.ndarray, instrument: Sequence[str | None]) -> np.ndarray:
    """(B, C) float32. charge: (B,) 1 to 8. energy: (B,) normalised, in percent, NaN if unknown."""
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
