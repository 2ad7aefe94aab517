"""Which peaks of a spectrum a molecule explains: the m/z of a fragment that bond breaking gives.

The fragments are those of `trimer.simulate.fragmentation`: up to two cuts in a row; each broken valence gains or loses
one hydrogen, or none in a radical. The charge is that of a proton (in negative mode: of a lost one) or of the metal of
the adduct; in `[M]+`, `[M]-` and `[Cat]+` an electron is missing or added.

An explained peak agrees with a structure. It is no proof: isomers and similar molecules explain many of the same peaks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rdkit import Chem

from trimer.chemistry.adducts import ELECTRON, Adduct, parse_adduct
from trimer.chemistry.identifiers import parse
from trimer.simulate.fragmentation import HYDROGEN, Skeleton, skeleton
from trimer.simulate.ions import SHIFTS, Pieces, pieces

METALS = ("Li", "Na", "K")  # of adducts; fragments keep them or carry a proton instead
GENERATIONS, WIDEST = 2, 150  # cuts in a row, and fragments that are cut again
MOST_ATOMS = 200  # heavy atoms of a molecule whose fragments are enumerated
_TABLE = Chem.GetPeriodicTable()


@dataclass(frozen=True)
class Explanation:
    """An ion that has the m/z of a peak.

    formula: such as `C6H7O+`. mz: Th. ppm: 10⁶ · (m/z of the ion − measured m/z) / measured m/z. broken: valences that
    are broken in the molecule, 0 for the intact ion.
    """

    formula: str
    mz: float
    ppm: float
    broken: int


@dataclass(frozen=True)
class _Ions:
    """N ions, ascending m/z: m/z (N,), fragment (N,), hydrogens added (N,), carrier (N,), valences broken, radicals."""

    mz: np.ndarray
    fragment: np.ndarray
    hydrogens: np.ndarray
    carrier: np.ndarray
    broken: np.ndarray
    radical: np.ndarray


def explain_peaks(
    smiles: str | None, mz: Sequence[float] | np.ndarray, adduct: str | None, ppm: float
) -> list[Explanation | None]:
    """The simplest explanation of each peak within ppm: fewest broken valences, no radical, smallest error.

    Nothing is explained for an unknown adduct, or for text that is not a molecule of at most MOST_ATOMS heavy atoms.
    """
    molecule, ion = parse(smiles), parse_adduct(adduct)
    if molecule is None or ion is None or molecule.GetNumAtoms() > MOST_ATOMS:
        return [None] * len(mz)
    arrays = skeleton(molecule)
    fragments = pieces(arrays, GENERATIONS, WIDEST)
    carriers = _carriers(ion, Chem.GetFormalCharge(molecule))
    sign = 1 if ion.charge > 0 else -1
    counts = _elements(molecule, fragments, arrays)
    ions = _ions(fragments, counts[1][:, -1], carriers, sign)
    return [_best(float(peak), ppm, ions, counts, carriers, sign) for peak in mz]


def _carriers(ion: Adduct, charge: int) -> list[dict[str, int]]:
    """What a fragment may carry: atoms by element, negative for a lost hydrogen."""
    added = dict(ion.atoms)
    if charge or not added:
        return [{}]
    if ion.charge < 0:
        return [{"H": -1}]
    return [{"H": 1}, *({metal: 1} for metal in METALS if added.get(metal, 0) > 0)]


def _ions(fragments: Pieces, available: np.ndarray, carriers: Sequence[Mapping[str, int]], sign: int) -> _Ions:
    """Every ion; available: (F,) hydrogens of the fragments in the molecule, of which no ion loses more than it has."""
    k, t = fragments.broken[:, None], SHIFTS[None]
    radical = (k - t) % 2 != 0
    lost = min((carrier.get("H", 0) for carrier in carriers), default=0)
    fragment, column = np.nonzero(
        (abs(t) <= k) & (~radical | (abs(t) <= 2)) & (available[:, None] + t + min(lost, 0) >= 0)
    )
    hydrogens = SHIFTS[column]
    masses = fragments.mass[fragment] + hydrogens * HYDROGEN
    added = [sum(n * (HYDROGEN if e == "H" else _mass(e)) for e, n in carrier.items()) for carrier in carriers]
    mz = np.concatenate([masses + mass - sign * ELECTRON for mass in added])
    order = np.argsort(mz, kind="stable")
    rows = np.tile(np.arange(len(fragment)), len(carriers))[order]
    number = np.repeat(np.arange(len(carriers)), len(fragment))[order]
    odd = radical[fragment, column][rows]
    return _Ions(mz[order], fragment[rows], hydrogens[rows], number, fragments.broken[fragment][rows], odd)


def _elements(molecule: Chem.Mol, fragments: Pieces, arrays: Skeleton) -> tuple[list[str], np.ndarray]:
    """Element symbols, and (F, E) the number of atoms of each in each fragment; hydrogens are the last column."""
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    names = sorted(set(symbols))
    onehot = np.array([[symbol == name for name in names] for symbol in symbols], np.int64)
    per_atom = np.concatenate([onehot, arrays.hydrogens[:, None]], 1)
    return [*names, "H"], fragments.bits.astype(np.int64) @ per_atom


def _best(
    peak: float,
    ppm: float,
    ions: _Ions,
    counts: tuple[list[str], np.ndarray],
    carriers: Sequence[Mapping[str, int]],
    sign: int,
) -> Explanation | None:
    low, high = np.searchsorted(ions.mz, (peak * (1 - 1e-6 * ppm), peak * (1 + 1e-6 * ppm)))
    if low == high:
        return None
    rows = np.arange(low, high)
    errors = (ions.mz[rows] - peak) / peak * 1e6
    best = np.lexsort((np.abs(errors), ions.radical[rows], ions.broken[rows]))[0]
    row = rows[best]
    names, table = counts
    atoms = Counter(dict(zip(names, table[ions.fragment[row]].tolist(), strict=True)))
    atoms["H"] += int(ions.hydrogens[row])
    atoms.update(carriers[ions.carrier[row]])
    formula = hill(atoms) + ("+" if sign > 0 else "-")
    return Explanation(formula, float(ions.mz[row]), float(errors[best]), int(ions.broken[row]))


def hill(atoms: Mapping[str, int]) -> str:
    """A formula in Hill order: carbon, hydrogen, then the alphabet; the alphabet alone without carbon."""
    first = ("C", "H") if atoms.get("C") else ()
    names = [*first, *sorted(name for name in atoms if name not in first)]
    return "".join(f"{name}{atoms[name] if atoms[name] > 1 else ''}" for name in names if atoms.get(name, 0) > 0)


def _mass(symbol: str) -> float:
    return _TABLE.GetMostCommonIsotopeMass(_TABLE.GetAtomicNumber(symbol))
