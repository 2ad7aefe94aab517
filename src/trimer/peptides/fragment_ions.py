"""The b and y fragments of a peptide, which form when one peptide bond breaks. Masses in Da, m/z in Th."""

from __future__ import annotations

import numpy as np

from trimer.peptides.modifications import composition_mass, parse_formula
from trimer.peptides.proforma import PROTON, RESIDUES, WATER, Peptide

SERIES = "by"
LOSSES = {"": 0.0} | {text: composition_mass(parse_formula(text) or ()) for text in ("H3PO4", "H2O", "NH3")}


def residue_masses(peptide: Peptide) -> np.ndarray:
    """Masses of the modified residues, (L,) float64; terminal modifications count for the first and last residue."""
    masses = np.array([RESIDUES[letter] for letter in peptide.letters])
    for position, modification in peptide.modifications:
        masses[min(max(position, 1), len(masses)) - 1] += modification.mass
    return masses


def fragment_masses(peptide: Peptide) -> tuple[np.ndarray, np.ndarray]:
    """Neutral masses of b1, b2, ... (prefixes) and of y1, y2, ... (suffixes with water), (L - 1,) float64 each."""
    masses = residue_masses(peptide)
    return np.cumsum(masses[:-1]), np.cumsum(masses[:0:-1]) + WATER


def fragment_mz(peptide: Peptide, series: str, number: int, charge: int, loss: str = "") -> float:
    """m/z of one fragment: series `b` or `y`, number of residues, charge, and loss (a key of LOSSES).

    >>> round(fragment_mz(Peptide("PEPTIDE"), "y", 1, 1), 4)
    148.0604
    """
    if series not in ("b", "y"):
        raise ValueError(f"series={series} must be b or y")
    if loss not in LOSSES:
        raise ValueError(f"loss={loss} must be one of {', '.join(filter(None, LOSSES))}, or empty")
    if not 1 <= number < len(peptide.letters):
        raise ValueError(f"number={number} must be 1 to {len(peptide.letters) - 1}")
    if charge < 1:
        raise ValueError(f"charge={charge} must be 1 or more")
    mass = float(fragment_masses(peptide)[SERIES.index(series)][number - 1])
    return (mass - LOSSES[loss]) / charge + PROTON
