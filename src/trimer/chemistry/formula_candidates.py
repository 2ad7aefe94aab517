"""Molecular formulas that agree with a mass.

Every formula of C, H and a few heteroatoms within the tolerance that a neutral closed-shell molecule may have: an
integer number of rings and double bonds of at least 0, and element ratios below the limits of Kind and Fiehn (2007,
"Seven golden rules", rules 4 to 6). Formulas with few atoms of rare elements come first.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

# Element -> monoisotopic mass in Da, valence - 2 (its weight in rings and double bonds), largest number of atoms.
HETEROATOMS = {
    "N": (14.0030740048, 1, 14), "O": (15.99491461956, 0, 24), "P": (30.97376163, 1, 3), "S": (31.97207100, 0, 4),
    "F": (18.99840322, -1, 9), "Cl": (34.96885268, -1, 5), "Br": (78.9183371, -1, 3), "I": (126.904473, -1, 3),
    "Si": (27.9769265325, 2, 2),
}  # fmt: skip
COMMON = ("N", "O")
CARBON, HYDROGEN = 12.0, 1.00782503207

RARE_KINDS = 3  # different elements besides C, H, N and O
RARE_ATOMS = 6  # atoms of three such elements together, as in organophosphates with sulfur and chlorine
MOST_CARBONS = 80
H_TO_C = 3.1  # largest ratio of hydrogens to carbons; small molecules may have up to 2 C + 2
LARGEST_MASS = 1000.0  # Da; above it there are too many formulas to be of use


@functools.cache
def _heteroatoms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The combinations of heteroatoms, by mass: (n, 9) counts, (n,) masses in Da, (n,) weights in unsaturation."""
    rare = [name for name in HETEROATOMS if name not in COMMON]
    parts = []
    for kinds in range(RARE_KINDS + 1):
        for chosen in itertools.combinations(rare, kinds):
            ranges = [range(1, HETEROATOMS[name][2] + 1) for name in chosen]
            parts += [
                dict(zip(chosen, numbers, strict=True))
                for numbers in itertools.product(*ranges)
                if kinds < RARE_KINDS or sum(numbers) <= RARE_ATOMS
            ]
    rare_counts = np.array([[part.get(name, 0) for name in HETEROATOMS] for part in parts], np.int16)
    n, o = np.meshgrid(*(np.arange(HETEROATOMS[name][2] + 1) for name in COMMON), indexing="ij")
    common = np.zeros((n.size, len(HETEROATOMS)), np.int16)
    common[:, 0], common[:, 1] = n.ravel(), o.ravel()
    counts = (rare_counts[:, None] + common[None]).reshape(-1, len(HETEROATOMS))
    masses = counts @ np.array([mass for mass, _, _ in HETEROATOMS.values()])
    kept = masses <= LARGEST_MASS
    order = np.argsort(masses[kept], kind="stable")
    counts, masses = counts[kept][order], masses[kept][order]
    return counts, masses, counts @ np.array([weight for _, weight, _ in HETEROATOMS.values()])


def formulas_of_mass(mass: float, tolerance: float, limit: int = 500) -> list[dict[str, int]]:
    """Atoms by element of at most `limit` formulas whose monoisotopic mass, Da, is within the tolerance, Da.

    Formulas without carbon are not considered. Those with the fewest atoms of rare elements come first, then those
    nearest in mass. None for masses above LARGEST_MASS.
    """
    if not 0 < mass <= LARGEST_MASS:
        return []
    counts, masses, weights = _heteroatoms()
    rows, carbons, hydrogens = [], [], []
    for carbon in range(1, min(MOST_CARBONS, int(mass / CARBON)) + 1):
        left = mass - carbon * CARBON
        most = max(int(H_TO_C * carbon), 2 * carbon + 4)  # hydrogens
        start, stop = np.searchsorted(masses, [left - most * HYDROGEN - tolerance, left + tolerance])
        rest = left - masses[start:stop]
        hydrogen = np.rint(rest / HYDROGEN).astype(np.int64)
        near = np.flatnonzero(np.abs(rest - hydrogen * HYDROGEN) <= tolerance)
        hydrogen = hydrogen[near]
        unsaturation = 2 * carbon + 2 + weights[start + near] - hydrogen  # twice the number of rings and double bonds
        fits = (hydrogen >= 0) & (hydrogen <= most) & (unsaturation >= 0) & (unsaturation % 2 == 0)
        rows.append(start + near[fits])
        carbons.append(np.full(fits.sum(), carbon))
        hydrogens.append(hydrogen[fits])
    if not rows:
        return []
    row = np.concatenate(rows)
    atoms = np.column_stack([np.concatenate(carbons), np.concatenate(hydrogens), counts[row]])  # (n, 11)
    kept = _plausible(atoms[:, 2:], atoms[:, 0])
    row, atoms = row[kept], atoms[kept]
    error = np.abs(mass - masses[row] - atoms[:, 0] * CARBON - atoms[:, 1] * HYDROGEN)
    rarity = atoms[:, 2 + len(COMMON) :].sum(1)
    order = np.lexsort((error, rarity))[:limit]
    names = ["C", "H", *HETEROATOMS]
    return [{name: n for name, n in zip(names, line, strict=True) if n} for line in atoms[order].tolist()]


def _plausible(atoms: np.ndarray, carbon: np.ndarray) -> np.ndarray:
    """Whether the ratios of elements to carbon are within the limits of Kind and Fiehn (2007)."""
    limits = {"N": 4, "O": 3, "P": 2, "S": 3, "F": 6, "Cl": 2, "Br": 2, "I": 2, "Si": 1}
    most = np.array([limits[name] for name in HETEROATOMS])
    return (atoms <= carbon[:, None] * most).all(1)
