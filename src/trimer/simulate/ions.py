"""Intensities of the fragment ions of a molecule: a log-linear rule whose weights are fitted to measured spectra.

An ion is a fragment F with a hydrogen shift t, at an energy e. F has k broken valences. Each break adds or removes one
hydrogen, so t has the parity of k for even-electron ions and the other parity for radicals. The charge carrier is a
proton or a sodium ion:

    m/z = (mass of F's atoms with their hydrogens + t * mass of H + mass of the charge carrier)
    log sqrt(intensity) = breaks + holds + size + shift * t / bonds + table[k, parity, t]
                    + e * (the same with other weights) + e^2 * (holds and size once more)

`breaks` sums, over the broken bonds of F, weights for the atom inside F, the atom outside, the bond, and the pair of
atoms. So amides, esters and C-N bonds break before aromatic ones, and the charge stays on atoms that stabilise it.
`holds` depends on the atom kinds in F, `size` on the share of the molecule in F. e is log(normalised energy / 40);
energies in eV are normalised to a precursor of m/z 500. The weights are in `ions.json`, fitted by
`experiments/spectrums/fit_ion_weights.py`.

Shapes: F fragments, N ions, A atoms, B bonds.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

from trimer.chemistry.identifiers import ELECTRON
from trimer.simulate.fragmentation import ATOM_KINDS, BOND_KINDS, HYDROGEN, Skeleton, fragments, unpack
from trimer.tokenizers.collision_energy import parse_collision_energy

SODIUM = 22.9897692809  # Da
SHIFTS = np.arange(-4, 4)  # hydrogens gained by a fragment, without the charge-carrying proton
MOST_BROKEN = 6  # valences
MOST_FRAGMENTS = 600  # only the brightest fragments become ions
FAINTEST = 10.0  # natural log units below the brightest fragment
LOWEST_MZ = 49.5  # Th; no simulated instrument scans below it
REFERENCE_ENERGY = 40.0  # normalised collision energy at which e is 0
SETTINGS = ("NCE", "eV", "QTOF volts")  # unit of a collision energy; a QTOF energy without a unit is in volts
INTENSITY_POWER = 0.5  # the rule predicts the log of intensity to this power, so that small peaks count
COLUMNS = ("break", "energy", "hydrogen", "radical")
SIZES = (
    "mass share",
    "mass share squared",
    "log mass",
    "whole",
    "whole log mass",
    "share log mass",
    "1 atom lost",
    "2 atoms lost",
    "3 atoms lost",
    "4 to 6 atoms lost",
)


@dataclass(frozen=True)
class IonWeights:
    """The fitted weights; K atom kinds, Q bond kinds, D = 2 K + 10 + 8 fragment features, S shifts.

    bonds: (K, K, Q, 4) for (inside, outside, bond): log weight of the break, its slope with energy, preference for
    hydrogens, preference for radicals. features: (D, 3) constant, slope, curvature. shifts: (8, 2, S, 2) constant,
    slope. energy: constant and slope of the energy calibration for each of SETTINGS.
    """

    bonds: np.ndarray
    features: np.ndarray
    shifts: np.ndarray
    energy: dict[str, tuple[float, float]]


@functools.cache
def ion_weights() -> IonWeights:
    """The weights shipped with the package."""
    data = json.loads(resources.files("trimer.simulate").joinpath("ions.json").read_text(encoding="utf-8"))
    inside, outside = (np.array([data[side][kind] for kind in ATOM_KINDS]) for side in ("inside", "outside"))
    bond = np.array([data["bond"][kind] for kind in BOND_KINDS])
    bonds = inside[:, None, None] + outside[None, :, None] + bond[None, None]
    for names, values in data["pair"].items():
        first, second = names.split(" | ")
        bonds[ATOM_KINDS.index(first), ATOM_KINDS.index(second)] += values
    features = np.array([data["features"][name] for name in feature_names()])
    return IonWeights(bonds, features, np.array(data["shifts"]), data["energy"])


@dataclass(frozen=True)
class Ions:
    """N candidate ions of one molecule; ions of equal m/z share a `peak`.

    mz: (U,) Th, distinct and ascending. peak: (N,) index into mz. constant, slope, curve: (N,) log intensity as a
    polynomial in the energy e. fragment: (N,) row of the fragment masks. whole: (N,) True for ions of the intact
    molecule.
    """

    mz: np.ndarray
    peak: np.ndarray
    constant: np.ndarray
    slope: np.ndarray
    curve: np.ndarray
    fragment: np.ndarray
    whole: np.ndarray

    def intensities(self, energy: float) -> np.ndarray:
        """(U,) expected intensity of each m/z at energy e (see `log_energy`), summing to 1."""
        score = self.constant + energy * (self.slope + energy * self.curve)
        weights = np.bincount(self.peak, np.exp(score - score.max()), len(self.mz)) ** (1 / INTENSITY_POWER)
        return weights / weights.sum()


def energy_setting(text: str | None, instrument_type: str | None) -> tuple[float, str] | None:
    """Value and unit (one of SETTINGS) of a collision energy in a spectral library, or None.

    Without a unit, the value is a voltage on QTOF instruments and a normalised energy on Orbitraps.
    """
    value, unit = parse_collision_energy(text)
    if value is None:
        return None
    if unit is None:
        unit = "QTOF volts" if "TOF" in (instrument_type or "") else "NCE"
    return value, unit


def log_energy(value: float, setting: str, precursor_mz: float, calibrated: bool = True) -> float:
    """Energy e of the rule: log(normalised collision energy / 40), clipped to -2 to 2; setting is one of SETTINGS.

    calibrated: apply the linear calibration of the setting, which was fitted together with the other weights.
    """
    normalised = value if setting == "NCE" else value * 500.0 / precursor_mz
    energy = float(np.clip(np.log(max(normalised, 3.0) / REFERENCE_ENERGY), -2.0, 2.0))
    if calibrated:
        constant, slope = ion_weights().energy[setting]
        energy += constant + slope * energy
    return energy


def ion_mz(mass: np.ndarray, shift: np.ndarray, carrier: float = HYDROGEN) -> np.ndarray:
    """m/z of fragments with `shift` more hydrogens and the charge carrier (masses in Da), rounded to 0.1 mTh."""
    return np.round(mass + shift * HYDROGEN + carrier - ELECTRON, 4)


def bond_classes(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Two (B,) arrays: row of each bond in the flattened `bonds` table, with its first or its second atom inside."""
    first, second = skeleton.kinds[skeleton.bonds[:, 0]], skeleton.kinds[skeleton.bonds[:, 1]]
    kinds, bonds = len(ATOM_KINDS), len(BOND_KINDS)
    forward = (first * kinds + second) * bonds + skeleton.bond_kinds
    backward = (second * kinds + first) * bonds + skeleton.bond_kinds
    return forward, backward


def fragment_features(skeleton: Skeleton, bits: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """(F, D) float32: atom kinds present (0 or 1, and log(1 + count)), sizes, broken valences (one-hot, 8)."""
    onehot = np.zeros((skeleton.atoms, len(ATOM_KINDS)), np.float32)
    onehot[np.arange(skeleton.atoms), skeleton.kinds] = 1
    present = bits.astype(np.float32)
    counts = present @ onehot
    mass = present @ skeleton.masses.astype(np.float32)
    whole_mass = skeleton.masses.sum()
    share, heavy = mass / whole_mass, np.log(whole_mass / 250.0)
    whole = (broken == 0).astype(np.float32)
    missing = skeleton.atoms - bits.sum(1)
    small = [missing == 1, missing == 2, missing == 3, (missing > 3) & (missing < 7)]
    sizes = np.stack([share, share**2, np.log(mass / 200.0), whole, whole * heavy, share * heavy, *small], 1)
    logarithms = _LOG1P[counts.astype(np.uint8)]
    return np.concatenate([counts > 0, logarithms, sizes, _EYE[np.minimum(broken, 7)]], 1, dtype=np.float32)


_LOG1P = np.log1p(np.arange(256, dtype=np.float32))
_EYE = np.eye(8, dtype=np.float32)


def feature_names() -> list[str]:
    """Names of the D columns of `fragment_features`."""
    atom_features = [f"holds {kind}" for kind in ATOM_KINDS] + [f"number of {kind}" for kind in ATOM_KINDS]
    return [*atom_features, *SIZES, *(f"{k} valences broken" for k in range(8))]


@dataclass(frozen=True)
class Pieces:
    """The fragments of a molecule that can become ions, with their broken bonds.

    bits: (F, A) uint8, 1 for atoms in the fragment. lost: (F, 2 B) uint8, 1 for broken bonds: first the B bonds with
    their first atom inside, then the B bonds with their second. broken: (F,) broken valences. mass: (F,) Da.
    """

    bits: np.ndarray
    lost: np.ndarray
    broken: np.ndarray
    mass: np.ndarray


def pieces(skeleton: Skeleton, generations: int = 3, widest: int = 50) -> Pieces:
    """Fragments with at most MOST_BROKEN broken valences."""
    bits = unpack(fragments(skeleton, generations, widest), skeleton.atoms)
    first, second = bits[:, skeleton.bonds[:, 0]], bits[:, skeleton.bonds[:, 1]]
    broken = (first ^ second).astype(np.float32) @ skeleton.orders.astype(np.float32)
    keep = broken <= MOST_BROKEN
    bits, first, second = bits[keep], first[keep], second[keep]
    lost = np.concatenate([first & ~second, second & ~first], 1)
    return Pieces(bits, lost, broken[keep].astype(np.int64), bits @ skeleton.masses)


def allowed_shifts(broken: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fragment and shift index of each ion: |t| <= k with the parity of k, radicals up to |t| = 2, m/z not too low."""
    k, t = broken[:, None], SHIFTS[None]
    even = (k - t) % 2 == 0
    allowed = (abs(t) <= k) & (even | (abs(t) <= 2) & (k > 0)) & (mass[:, None] + (t + 1) * HYDROGEN > LOWEST_MZ)
    fragment, shift = np.nonzero(allowed)
    return fragment, shift


def predict_ions(skeleton: Skeleton, adduct: str = "[M+H]+", generations: int = 3, widest: int = 50) -> Ions:
    """All candidate ions of a neutral molecule with their log intensities; adduct is '[M+H]+' or '[M+Na]+'."""
    weights = ion_weights()
    candidates = pieces(skeleton, generations, widest)
    table = weights.bonds.reshape(-1, len(COLUMNS))
    per_bond = table[np.concatenate(bond_classes(skeleton))].astype(np.float32)
    broken_bonds = candidates.lost.astype(np.float32) @ per_bond  # (F, 4)
    bond_counts = np.maximum(candidates.lost.sum(1), 1)
    features = fragment_features(skeleton, candidates.bits, candidates.broken)
    kept_atoms = features @ weights.features.astype(np.float32)  # (F, 3)
    constant = broken_bonds[:, 0] + kept_atoms[:, 0]
    slope = broken_bonds[:, 1] + kept_atoms[:, 1]

    # Highest brightness of a fragment for -1 <= e <= 1, before the hydrogen preferences of its bonds.
    best = constant + np.abs(slope) + weights.shifts[:, :, :, 0].max((1, 2))[np.minimum(candidates.broken, 7)]
    bright = np.flatnonzero(best > best.max() - FAINTEST)
    if len(bright) > MOST_FRAGMENTS:
        bright = np.sort(bright[np.argpartition(-best[bright], MOST_FRAGMENTS)[:MOST_FRAGMENTS]])
    row, column = allowed_shifts(candidates.broken[bright], candidates.mass[bright])
    row = bright[row]
    shift = SHIFTS[column]
    k = np.minimum(candidates.broken[row], 7)
    radical = (shift - k) % 2
    shift_weights = weights.shifts[k, radical, column]  # (N, 2)
    preference = (broken_bonds[row, 2] * shift + broken_bonds[row, 3] * radical) / bond_counts[row]
    ion_constant = constant[row] + preference + shift_weights[:, 0]
    ion_slope, ion_curve = slope[row] + shift_weights[:, 1], kept_atoms[row, 2]
    whole = candidates.broken[row] == 0
    carrier = HYDROGEN
    if adduct == "[M+Na]+":
        carrier = SODIUM
        ion_constant = ion_constant + _sodium_affinity(skeleton, candidates.bits)[row]
    mz, peak = np.unique(ion_mz(candidates.mass[row], shift, carrier), return_inverse=True)
    return Ions(mz, peak, ion_constant, ion_slope, ion_curve, row, whole)


def _sodium_affinity(skeleton: Skeleton, bits: np.ndarray) -> np.ndarray:
    """(F,) log factor for sodiated ions: they rarely fragment, and need oxygen or nitrogen to keep the sodium."""
    polar = np.array([ATOM_KINDS[kind][0] in "NO" for kind in skeleton.kinds])
    donors = bits @ polar.astype(np.int64)
    whole = bits.all(1)
    return np.where(whole, 3.0, np.minimum(donors, 4) - 4.0)
