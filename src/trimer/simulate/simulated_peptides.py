"""The simulated source of peptides: made-up tryptic peptides, their retention times, charges and fragments by rule.

Peptides have 7 to 30 residues in the shares of UniProt and end in K or R; one in ten has another K or R inside. The
share `modified` of them has an oxidised M, a phosphate at S, T or Y, or an acetylated N terminus.

Retention, in minutes: H = length * sum of w_i R_i, the coefficients R of Guo et al. (J. Chromatogr. 359, 499, 1986;
C18, pH 2). The N-terminal amine lessens its neighbours: w = 0.6, 0.8, 0.9 for the first three residues, unless it is
acetylated, else 1. length = 1 - 0.027 (10 - L) below 10 residues and 1 - 0.014 (L - 20) above 20, and of what lies
above 38 minutes only 0.7 is counted, as in Krokhin et al. (Mol. Cell. Proteomics 3, 908, 2004). A modification shifts
H by a fixed time (`SHIFTS`), and there is normal noise of 0.5.

Charge: each basic site (N terminus unless acetylated, K, R, H) holds a proton with its own chance, independently of
the others (`HOLDS`); a charge is drawn from what follows, and those of at least 0.1 are what is seen of a peptide.

Fragments: a bond breaks with weight exp(30 w / energy), w from the residues at both sides: in front of P it breaks
readily, behind P hardly; behind D and E it does so where no proton is mobile (charge not above the number of K, R, H),
which is when the other bonds break less. The fragment with more of the basicity is the brighter one of a pair, its
protons go by its share of the basicity, and phosphate, water and ammonia are lost where there are residues for it.
What these numbers are is our own choice; only their direction is chemistry (Wysocki et al., J. Mass Spectrom. 35, 1399,
2000).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trimer.data.core.label_table import LabelTable
from trimer.data.peptides.fragment_files import FragmentTable
from trimer.data.peptides.fragment_records import Fragment, Spectrum
from trimer.data.peptides.peptide_files import CHARGES, WHATS
from trimer.errors import ConfigError
from trimer.peptides.modifications import modification
from trimer.peptides.proforma import Peptide
from trimer.simulate.simulated_proteins import LETTERS, SHARES

RULE = 1  # counts up when the rule changes, so that caches are made anew
SHORTEST, LONGEST = 7, 30
CHUNK = 2_000
RETENTION = {
    "A": 2.0, "C": 2.6, "D": 0.2, "E": 1.1, "F": 8.1, "G": -0.2, "H": -2.1, "I": 7.4, "K": -2.1, "L": 8.1, "M": 5.5,
    "N": -0.6, "P": 2.0, "Q": 0.0, "R": -0.6, "S": -0.2, "T": 0.6, "V": 5.0, "W": 8.8, "Y": 4.5,
}  # fmt: skip
FIRST = np.array([0.6, 0.8, 0.9])
SHIFTS = {"Oxidation": -4.0, "Phospho": -1.0, "Acetyl": 3.0}  # minutes
NOISE = 0.5  # minutes
HOLDS = {"R": 0.95, "K": 0.9, "H": 0.5}
AMINE_HOLDS = 0.75
SEEN = 0.1

BASICITY = {"R": 3.0, "K": 2.2, "H": 1.5}
AMINE, BACKBONE = 1.0, 0.1  # basicity of the N terminus and of any other residue
BEFORE = {"P": -1.5, "I": 0.3, "L": 0.3, "V": 0.4, "G": -0.5, "S": -0.2}  # by the residue that the bond follows
AFTER = {"P": 1.6, "G": 0.2, "S": 0.1}  # by the residue that follows the bond
ACIDIC = {"D": 1.8, "E": 0.8}  # the same as BEFORE where no proton is mobile
PHOSPHATE_LOST = {"S": 0.5, "T": 0.35, "Y": 0.0}
FAINTEST = 0.01


@lru_cache(maxsize=1)
def _letters() -> tuple[np.ndarray, np.ndarray]:
    """The amino acids that are neither K nor R, and how likely each is."""
    inside = ~np.isin(LETTERS, np.frombuffer(b"KR", np.uint8))
    return LETTERS[inside], SHARES[inside] / SHARES[inside].sum()


def peptide(random: np.random.Generator, modified: float) -> Peptide:
    """A tryptic peptide; modified: how likely it has a modification."""
    length = int(np.clip(random.gamma(3.0, 2.5) + SHORTEST - 0.5, SHORTEST, LONGEST))
    kinds, shares = _letters()
    letters = random.choice(kinds, length, p=shares)
    if random.random() < 0.1:
        letters[random.integers(1, length - 1)] = ord("KR"[random.integers(2)])
    letters[-1] = ord("KR"[int(random.random() < 0.45)])
    text = letters.tobytes().decode("ascii")
    if random.random() >= modified:
        return Peptide(text)
    sites = {
        "Acetyl": [0],
        "Oxidation": [i for i, letter in enumerate(text, 1) if letter == "M"],
        "Phospho": [i for i, letter in enumerate(text, 1) if letter in "STY"],
    }
    names = [name for name, places in sites.items() if places]
    # Acetylated ends are rare beside the others.
    weights = np.array([1.0 if name == "Acetyl" else 3.0 for name in names])
    name = names[random.choice(len(names), p=weights / weights.sum())]
    count = 2 if name == "Phospho" and len(sites[name]) > 1 and random.random() < 0.2 else 1
    places = sorted(random.choice(sites[name], count, replace=False).tolist())
    return Peptide(text, tuple((place, modification(name)) for place in places))


def retention(one: Peptide) -> float:
    """Retention time by the rule, in minutes, without noise."""
    values = np.array([RETENTION[letter] for letter in one.letters])
    names = [own.name for _, own in one.modifications]
    if "Acetyl" not in names:
        values[: len(FIRST)] *= FIRST[: len(values)]
    length = len(values)
    factor = 1 - 0.027 * max(10 - length, 0) - 0.014 * max(length - 20, 0)
    minutes = factor * float(values.sum()) + sum(SHIFTS.get(name, 0.0) for name in names)
    return minutes - 0.3 * max(minutes - 38, 0)


def charge_shares(one: Peptide) -> np.ndarray:
    """How likely each charge from 1 to 6 is, (6,) float64, adding up to 1."""
    chances = [HOLDS[letter] for letter in one.letters if letter in HOLDS]
    if not _acetylated(one):
        chances.append(AMINE_HOLDS)
    shares = np.ones(1)
    for chance in chances:
        shares = np.convolve(shares, [1 - chance, chance])
    shares = np.pad(shares, (0, len(CHARGES) + 1))[1 : len(CHARGES) + 1]
    return shares / shares.sum() if shares.sum() else np.eye(len(CHARGES))[0]


def fragment_intensities(one: Peptide, charge: int, energy: float) -> list[Fragment]:
    """The fragments of a peptide at a charge and a normalised collision energy, by the rule and without noise."""
    letters, length = one.letters, len(one.letters)
    basicity = np.array([BASICITY.get(letter, BACKBONE) for letter in letters])
    basicity[0] += 0.0 if _acetylated(one) else AMINE
    mobile = charge > sum(letter in BASICITY for letter in letters)
    phosphates = [(place, letters[place - 1]) for place, own in one.modifications if own.name == "Phospho"]
    weights = np.zeros(length - 1)
    for bond in range(length - 1):
        before, after = letters[bond], letters[bond + 1]
        weights[bond] = (0.0 if mobile else -0.7) + BEFORE.get(before, 0.0) + AFTER.get(after, 0.0)
        weights[bond] += 0.0 if mobile else ACIDIC.get(before, 0.0)
    weights -= 0.5 * ((np.arange(1, length) / length - 0.45) / 0.35) ** 2
    weights = np.exp(weights * 30.0 / energy)
    prefix = np.cumsum(basicity)[:-1] / basicity.sum()
    found: list[Fragment] = []
    for bond, weight in enumerate(weights):
        for series, share, number in (("b", prefix[bond], bond + 1), ("y", 1 - prefix[bond], length - bond - 1)):
            if series == "b" and bond == 0 and not _acetylated(one):
                continue  # b1 has no neighbour to close a ring with
            bright = weight * share**1.5 * (0.7 * np.exp(-energy / 60) if series == "b" else 1.0)
            part = slice(0, number) if series == "b" else slice(length - number, length)
            lost = _losses(letters[part], [site for place, site in phosphates if part.start < place <= part.stop])
            protons = np.arange(1, min(charge, 3) + 1)
            spread = np.exp(-((protons - max(share * charge, 1.0)) ** 2) / 0.4)
            for proton, own in zip(protons.tolist(), spread / spread.sum(), strict=True):
                found += [(series, number, proton, loss, float(bright * own * kept)) for loss, kept in lost.items()]
    return found


def _acetylated(one: Peptide) -> bool:
    return any(place == 0 for place, _ in one.modifications)


def _losses(letters: str, phosphates: Sequence[str]) -> dict[str, float]:
    """What a fragment loses, and which share of it does."""
    kept = 1.0
    for site in phosphates:
        kept *= 1 - PHOSPHATE_LOST[site]
    lost = {"H3PO4": 1 - kept}
    lost["H2O"] = kept * 0.12 * (1 - 0.7 ** sum(map("STED".count, letters)))
    lost["NH3"] = kept * 0.10 * (1 - 0.7 ** sum(map("RKNQ".count, letters)))
    return {"": kept - lost["H2O"] - lost["NH3"]} | {loss: share for loss, share in lost.items() if share > 0}


@dataclass(frozen=True)
class SimulatedPeptides:
    """The simulated source: made-up peptides with one property, the same for the same numbers.

    what: "retention", "charge" or "charges", with the labels of PeptideFiles. modified: the share of peptides that have
    a modification. Those of a smaller number are the first of a larger one, and those of each `what` are the same.
    """

    count: int = 10_000
    what: str = "retention"
    seed: int = 0
    modified: float = 0.2

    def __post_init__(self) -> None:
        _check(self.count, self.modified)
        if self.what not in WHATS:
            raise ValueError(f"what={self.what} must be one of {', '.join(WHATS)}")

    def fingerprint(self) -> str:
        """Changes when the peptides would."""
        return f"simulated-peptides/{RULE}/{self.count}/{self.what}/{self.seed}/{self.modified}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of at most 2,000 peptides. columns: `letters`, the residues, is all there is."""
        if unknown := [name for name in columns if name != "letters"]:
            raise ConfigError(f"the simulated source has no column {', '.join(unknown)}, only letters")
        labels = CHARGES if self.what == "charges" else (self.what,)
        for first in range(0, self.count, CHUNK):
            numbers = range(first, min(first + CHUNK, self.count))
            drawn = [_drawn(self.seed, number, self.modified) for number in numbers]
            texts = [self._labels(one, random) for one, random in drawn]
            ids = [f"sim-{self.seed}-{number}" for number in numbers]
            yield LabelTable(
                ids,
                [one.proforma for one, _ in drawn],
                {name: [own[place] for own in texts] for place, name in enumerate(labels)},
                {name: [one.letters for one, _ in drawn] for name in columns},
                [f"simulated peptide {number + 1}" for number in numbers],
            )

    def _labels(self, one: Peptide, random: np.random.Generator) -> list[str]:
        if self.what == "retention":
            return [f"{retention(one) + NOISE * random.standard_normal():.3f}"]
        shares = charge_shares(one)
        if self.what == "charge":
            return [CHARGES[random.choice(len(CHARGES), p=shares)]]
        return ["01"[int(share >= SEEN)] for share in shares]


@dataclass(frozen=True)
class SimulatedFragments:
    """The simulated source of fragment intensities: the same peptides, at one charge and one energy each.

    Energies are normalised ones from 20 to 35. noise: standard deviation of the natural logarithm of an intensity.
    """

    count: int = 10_000
    seed: int = 0
    modified: float = 0.2
    noise: float = 0.15

    def __post_init__(self) -> None:
        _check(self.count, self.modified)
        if self.noise < 0:
            raise ValueError(f"noise={self.noise} must be 0 or more")

    def fingerprint(self) -> str:
        """Changes when the spectra would."""
        return f"simulated-fragments/{RULE}/{self.count}/{self.seed}/{self.modified}/{self.noise}"

    def chunks(self) -> Iterator[FragmentTable]:
        """Tables of at most 2,000 spectra."""
        for first in range(0, self.count, CHUNK):
            numbers = range(first, min(first + CHUNK, self.count))
            yield FragmentTable.of([self._spectrum(number) for number in numbers])

    def _spectrum(self, number: int) -> Spectrum:
        one, random = _drawn(self.seed, number, self.modified)
        charge = int(CHARGES[random.choice(len(CHARGES), p=charge_shares(one))])
        energy = round(random.uniform(20, 35), 1)
        found = fragment_intensities(one, charge, energy)
        values = np.array([value for *_, value in found])
        values *= np.exp(self.noise * random.standard_normal(len(values)))
        values /= values.max()
        fragments = [(*own[:4], float(v)) for own, v in zip(found, values, strict=True) if v >= FAINTEST]
        name, place = f"sim-{self.seed}-{number}", f"simulated peptide {number + 1}"
        return Spectrum(name, one.proforma, charge, energy, "simulated", place, fragments)


def _drawn(seed: int, number: int, modified: float) -> tuple[Peptide, np.random.Generator]:
    """The peptide of a number, and the random numbers that follow."""
    random = np.random.Generator(np.random.PCG64([seed, number]))
    return peptide(random, modified), random


def _check(count: int, modified: float) -> None:
    if count < 1:
        raise ValueError(f"count={count} must be 1 or more")
    if not 0 <= modified <= 1:
        raise ValueError(f"modified={modified} must be from 0 to 1")
