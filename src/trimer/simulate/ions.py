"""How bright each ion of a molecule is: the stated rule of the simulated source, a log-linear model over fragments.

An ion is a fragment F, a hydrogen shift t and an energy e. With k broken valences, each break leaves F one hydrogen
richer or poorer, so t has the parity of k for an even-electron ion and the other parity for a radical. On top comes
the charge, a proton or a sodium ion:

    m/z = (mass of F's atoms with their hydrogens + t * mass of H + mass of the charge carrier)
    log sqrt(intensity) = breaks + holds + size + shift * t / bonds + table[k, parity, t]
                    + e * (the same with other weights) + e^2 * (holds and size once more)

`breaks` sums, over the bonds that F lost, a weight for the atom inside F, the atom outside, the bond, and the pair of
atoms (so amides, esters and C-N bonds break before aromatic ones, and the charge stays where it is held well);
`holds` depends on which atom kinds F keeps; `size` on its share of the molecule. e is log(normalised energy / 40),
where eV are normalised to a precursor of m/z 500. The weights are in `ions.json`, fitted by
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
SHIFTS = np.arange(-4, 4)  # hydrogens gained by a fragment, the charge-carrying proton not counted
MOST_BROKEN = 6  # valences
MOST_FRAGMENTS = 600  # fragments that become ions, the brightest first
FAINTEST = 10.0  # natural log below the brightest fragment
LOWEST_MZ = 49.5  # below it no instrument here scans
REFERENCE_ENERGY = 40.0
SETTINGS = ("NCE", "eV", "QTOF volts")  # what a collision energy may be given in; volts are those without a unit
INTENSITY_POWER = 0.5  # the rule gives the logarithm of intensity to this power, so that small peaks count
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
    """The fitted numbers; K atom kinds, Q bond kinds, D = 2 K + 10 + 8 fragment features, S shifts.

    bonds: (K, K, Q, 4) for (inside, outside, bond): log weight of the break, its slope with energy, preference for
    hydrogens, preference for radicals. features: (D, 3) constant, slope, curvature. shifts: (8, 2, S, 2) constant,
    slope. energy: constant and slope of the calibration of each of SETTINGS.
    """

    bonds: np.ndarray
    features: np.ndarray
    shifts: np.ndarray
    energy: dict[str, tuple[float, float]]


@functools.cache
def ion_weights() -> IonWeights:
    """The weights that come with the package."""
    data = json.loads(resources.files("trimer.simulate").joinpath("ions.json").read_text(encoding="utf-8"))
    inside, outside = (np.array([data[part][kind] for kind in ATOM_KINDS]) for part in ("inside", "outside"))
    bond = np.array([data["bond"][kind] for kind in BOND_KINDS])
    bonds = inside[:, None, None] + outside[None, :, None] + bond[None, None]
    for names, values in data["pair"].items():
        first, second = names.split(" | ")
        bonds[ATOM_KINDS.index(first), ATOM_KINDS.index(second)] += values
    features = np.array([data["features"][name] for name in feature_names()])
    return IonWeights(bonds, features, np.array(data["shifts"]), data["energy"])


@dataclass(frozen=True)
class Ions:
    """N candidate ions of one molecule, those of equal m/z joined by `peak`.

    mz: (U,) Th ascending, distinct. peak: (N,) index into mz. constant, slope, curve: (N,) log intensity as a
    polynomial in the energy e. fragment: (N,) row of the fragment masks; whole: (N,) True where nothing was broken
    off.
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
    """Value and SETTINGS of a collision energy as libraries write it; None where there is none.

    Without a unit, beam instruments (QTOF) mean a voltage and Orbitraps a normalised energy.
    """
    value, unit = parse_collision_energy(text)
    if value is None:
        return None
    if unit is None:
        unit = "QTOF volts" if "TOF" in (instrument_type or "") else "NCE"
    return value, unit


def log_energy(value: float, setting: str, precursor_mz: float, calibrated: bool = True) -> float:
    """e of the rule: log of the normalised collision energy over 40, held within -2 and 2; setting is one of SETTINGS.

    calibrated: each setting has its own straight line from that logarithm to e, fitted with the other weights.
    """
    normalised = value if setting == "NCE" else value * 500.0 / precursor_mz
    energy = float(np.clip(np.log(max(normalised, 3.0) / REFERENCE_ENERGY), -2.0, 2.0))
    if calibrated:
        constant, slope = ion_weights().energy[setting]
        energy += constant + slope * energy
    return energy


def ion_mz(mass: np.ndarray, shift: np.ndarray, carrier: float = HYDROGEN) -> np.ndarray:
    """m/z of fragments of these masses with hydrogens gained and the charge carrier, to 0.1 mTh."""
    return np.round(mass + shift * HYDROGEN + carrier - ELECTRON, 4)


def bond_classes(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """(B,) row of the flattened `bonds` table for each bond seen from its first and from its second atom."""
    first, second = skeleton.kinds[skeleton.bonds[:, 0]], skeleton.kinds[skeleton.bonds[:, 1]]
    kinds, bonds = len(ATOM_KINDS), len(BOND_KINDS)
    forward = (first * kinds + second) * bonds + skeleton.bond_kinds
    backward = (second * kinds + first) * bonds + skeleton.bond_kinds
    return forward, backward


def fragment_features(skeleton: Skeleton, bits: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """(F, D) float32: atom kinds kept (yes or no, and log of 1 + number), sizes, valences broken (one of 8)."""
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
    holds = [f"holds {kind}" for kind in ATOM_KINDS] + [f"number of {kind}" for kind in ATOM_KINDS]
    return [*holds, *SIZES, *(f"{k} valences broken" for k in range(8))]


@dataclass(frozen=True)
class Pieces:
    """The fragments of a molecule that may become ions, with what they lost.

    bits: (F, A) uint8 atoms. lost: (F, 2 B) uint8, bond lost with its first atom inside F, then with its second.
    broken: (F,) valences. mass: (F,) Da.
    """

    bits: np.ndarray
    lost: np.ndarray
    broken: np.ndarray
    mass: np.ndarray


def pieces(skeleton: Skeleton, generations: int = 3, widest: int = 50) -> Pieces:
    """Fragments with at most MOST_BROKEN valences broken."""
    bits = unpack(fragments(skeleton, generations, widest), skeleton.atoms)
    first, second = bits[:, skeleton.bonds[:, 0]], bits[:, skeleton.bonds[:, 1]]
    broken = (first ^ second).astype(np.float32) @ skeleton.orders.astype(np.float32)
    keep = broken <= MOST_BROKEN
    bits, first, second = bits[keep], first[keep], second[keep]
    lost = np.concatenate([first & ~second, second & ~first], 1)
    return Pieces(bits, lost, broken[keep].astype(np.int64), bits @ skeleton.masses)


def allowed_shifts(broken: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which (fragment, shift) pairs are ions: |t| <= k in k's parity, radicals up to |t| = 2, above the lowest m/z."""
    k, t = broken[:, None], SHIFTS[None]
    even = (k - t) % 2 == 0
    allowed = (abs(t) <= k) & (even | (abs(t) <= 2) & (k > 0)) & (mass[:, None] + (t + 1) * HYDROGEN > LOWEST_MZ)
    return np.nonzero(allowed)


def predict_ions(skeleton: Skeleton, adduct: str = "[M+H]+", generations: int = 3, widest: int = 50) -> Ions:
    """All ions of a neutral molecule with their log intensities; adduct '[M+H]+' or '[M+Na]+'."""
    weights = ion_weights()
    part = pieces(skeleton, generations, widest)
    table = weights.bonds.reshape(-1, len(COLUMNS))
    per_bond = table[np.concatenate(bond_classes(skeleton))].astype(np.float32)
    lost = part.lost.astype(np.float32) @ per_bond  # (F, 4)
    bonds = np.maximum(part.lost.sum(1), 1)
    held = fragment_features(skeleton, part.bits, part.broken) @ weights.features.astype(np.float32)  # (F, 3)
    constant = lost[:, 0] + held[:, 0]
    slope = lost[:, 1] + held[:, 1]

    # The brightest a fragment gets for -1 <= e <= 1, before its own liking for hydrogens.
    best = constant + np.abs(slope) + weights.shifts[:, :, :, 0].max((1, 2))[np.minimum(part.broken, 7)]
    bright = np.flatnonzero(best > best.max() - FAINTEST)
    if len(bright) > MOST_FRAGMENTS:
        bright = np.sort(bright[np.argpartition(-best[bright], MOST_FRAGMENTS)[:MOST_FRAGMENTS]])
    row, column = allowed_shifts(part.broken[bright], part.mass[bright])
    row = bright[row]
    shift = SHIFTS[column]
    k = np.minimum(part.broken[row], 7)
    radical = (shift - k) % 2
    of_shift = weights.shifts[k, radical, column]  # (N, 2)
    value = constant[row] + (lost[row, 2] * shift + lost[row, 3] * radical) / bonds[row] + of_shift[:, 0]
    rise, curve = slope[row] + of_shift[:, 1], held[row, 2]
    whole = part.broken[row] == 0
    carrier = HYDROGEN
    if adduct == "[M+Na]+":
        carrier = SODIUM
        value = value + _sodium(skeleton, part.bits)[row]
    mz, peak = np.unique(ion_mz(part.mass[row], shift, carrier), return_inverse=True)
    return Ions(mz, peak, value, rise, curve, row, whole)


def _sodium(skeleton: Skeleton, bits: np.ndarray) -> np.ndarray:
    """(F,) log factor for sodiated ions: they hold together, and need oxygen or nitrogen to keep the sodium."""
    polar = np.array([ATOM_KINDS[kind][0] in "NO" for kind in skeleton.kinds])
    donors = bits @ polar.astype(np.int64)
    whole = bits.all(1)
    return np.where(whole, 3.0, np.minimum(donors, 4) - 4.0)
