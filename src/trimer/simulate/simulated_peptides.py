"""Simulated data for peptides: tryptic peptides with retention times, charges and fragments that follow fixed rules.

Peptides have 7 to 30 residues with the amino acid frequencies of UniProt and end in K or R; one in ten has another K or
R inside. A share `modified` of them has an oxidised M, a phosphate at S, T or Y, or an acetylated N terminus.

Retention time, in minutes: H = length factor * sum of w_i R_i, with the coefficients R of Guo et al. (J. Chromatogr.
359, 499, 1986; C18, pH 2). A free N-terminal amine reduces the weights of the first three residues: w = 0.6, 0.8,
0.9; w = 1 for all others and for acetylated peptides. The length factor is 1 - 0.027 (10 - L) below 10 residues and
1 - 0.014 (L - 20) above 20. A modification shifts H by a fixed time (`SHIFTS`). Above 38 minutes, only 0.7 of the
excess counts, as in Krokhin et al. (Mol. Cell. Proteomics 3, 908, 2004). The noise is normal with a standard deviation
of 0.5 minutes.

Charge: each basic site (N terminus unless acetylated, K, R, H) holds a proton with its own probability (`HOLDS`),
independently of the others. A charge is drawn from the resulting distribution; the observed charges of a peptide are
those with a probability of at least 0.1.

Fragments: a bond breaks with weight exp(30 w / energy), where w depends on the residues on both sides. Cleavage is
favoured before P and rare after P. Without a mobile proton (charge not above the number of K, R, H), it is favoured
after D and E, and other bonds break less. Of a fragment pair, the more basic one is brighter, and its protons follow
its share of the basicity. Phosphate, water and ammonia are lost from residues that can lose them. The numbers are our
own choice; only their direction is chemistry (Wysocki et al., J. Mass Spectrom. 35, 1399, 2000).
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

RULE = 1  # part of the cache key: increase it when the rules change
SHORTEST, LONGEST = 7, 30
CHUNK = 2_000
RETENTION = {
    "A": 2.0, "C": 2.6, "D": 0.2, "E": 1.1, "F": 8.1, "G": -0.2, "H": -2.1, "I": 7.4, "K": -2.1, "L": 8.1, "M": 5.5,
    "N": -0.6, "P": 2.0, "Q": 0.0, "R": -0.6, "S": -0.2, "T": 0.6, "V": 5.0, "W": 8.8, "Y": 4.5,
}  # fmt: skip
FIRST = np.array([0.6, 0.8, 0.9])  # weights of the first residues next to a free N-terminal amine
SHIFTS = {"Oxidation": -4.0, "Phospho": -1.0, "Acetyl": 3.0}  # minutes
NOISE = 0.5  # minutes
HOLDS = {"R": 0.95, "K": 0.9, "H": 0.5}  # probability that the residue holds a proton
AMINE_HOLDS = 0.75  # the same for the N terminus
SEEN = 0.1  # least probability of a charge that counts as observed

BASICITY = {"R": 3.0, "K": 2.2, "H": 1.5}
AMINE, BACKBONE = 1.0, 0.1  # basicity of the N terminus and of any other residue
BEFORE = {"P": -1.5, "I": 0.3, "L": 0.3, "V": 0.4, "G": -0.5, "S": -0.2}  # log weight by the residue before the bond
AFTER = {"P": 1.6, "G": 0.2, "S": 0.1}  # log weight by the residue after the bond
ACIDIC = {"D": 1.8, "E": 0.8}  # added to BEFORE if no proton is mobile
PHOSPHATE_LOST = {"S": 0.5, "T": 0.35, "Y": 0.0}  # share of fragments that lose H3PO4, by phosphorylated residue
FAINTEST = 0.01  # relative to the base peak; weaker fragments are not recorded


@lru_cache(maxsize=1)
def _inner_residues() -> tuple[np.ndarray, np.ndarray]:
    """Amino acids other than K and R, and their probabilities."""
    inner = ~np.isin(LETTERS, np.frombuffer(b"KR", np.uint8))
    return LETTERS[inner], SHARES[inner] / SHARES[inner].sum()


def peptide(random: np.random.Generator, modified: float) -> Peptide:
    """A random tryptic peptide; modified: probability of a modification."""
    length = int(np.clip(random.gamma(3.0, 2.5) + SHORTEST - 0.5, SHORTEST, LONGEST))
    residues, probabilities = _inner_residues()
    letters = random.choice(residues, length, p=probabilities)
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
    names = [name for name, positions in sites.items() if positions]
    # N-terminal acetylation is rarer than the other modifications.
    weights = np.array([1.0 if name == "Acetyl" else 3.0 for name in names])
    name = names[random.choice(len(names), p=weights / weights.sum())]
    count = 2 if name == "Phospho" and len(sites[name]) > 1 and random.random() < 0.2 else 1
    positions = sorted(random.choice(sites[name], count, replace=False).tolist())
    return Peptide(text, tuple((position, modification(name)) for position in positions))


def retention(peptidoform: Peptide) -> float:
    """Retention time in minutes, without noise."""
    values = np.array([RETENTION[letter] for letter in peptidoform.letters])
    names = [applied.name for _, applied in peptidoform.modifications]
    if "Acetyl" not in names:
        values[: len(FIRST)] *= FIRST[: len(values)]
    length = len(values)
    factor = 1 - 0.027 * max(10 - length, 0) - 0.014 * max(length - 20, 0)
    minutes = factor * float(values.sum()) + sum(SHIFTS.get(name, 0.0) for name in names)
    return minutes - 0.3 * max(minutes - 38, 0)


def charge_shares(peptidoform: Peptide) -> np.ndarray:
    """(6,) float64: probabilities of the charges 1 to 6, which sum to 1."""
    site_probabilities = [HOLDS[letter] for letter in peptidoform.letters if letter in HOLDS]
    if not _acetylated(peptidoform):
        site_probabilities.append(AMINE_HOLDS)
    shares = np.ones(1)  # by the number of protons, from 0
    for probability in site_probabilities:
        shares = np.convolve(shares, [1 - probability, probability])
    shares = np.pad(shares, (0, len(CHARGES) + 1))[1 : len(CHARGES) + 1]
    return shares / shares.sum() if shares.sum() else np.eye(len(CHARGES))[0]


def fragment_intensities(peptidoform: Peptide, charge: int, energy: float) -> list[Fragment]:
    """Fragments of a peptide at a charge and a normalised collision energy, without noise."""
    letters, length = peptidoform.letters, len(peptidoform.letters)
    basicity = np.array([BASICITY.get(letter, BACKBONE) for letter in letters])
    basicity[0] += 0.0 if _acetylated(peptidoform) else AMINE
    mobile = charge > sum(letter in BASICITY for letter in letters)
    phosphates = [
        (position, letters[position - 1])
        for position, applied in peptidoform.modifications
        if applied.name == "Phospho"
    ]
    weights = np.zeros(length - 1)
    for bond in range(length - 1):
        before, after = letters[bond], letters[bond + 1]
        weights[bond] = (0.0 if mobile else -0.7) + BEFORE.get(before, 0.0) + AFTER.get(after, 0.0)
        weights[bond] += 0.0 if mobile else ACIDIC.get(before, 0.0)
    weights -= 0.5 * ((np.arange(1, length) / length - 0.45) / 0.35) ** 2
    weights = np.exp(weights * 30.0 / energy)
    prefix = np.cumsum(basicity)[:-1] / basicity.sum()  # share of the basicity in each b fragment
    fragments: list[Fragment] = []
    for bond, weight in enumerate(weights):
        for series, share, number in (("b", prefix[bond], bond + 1), ("y", 1 - prefix[bond], length - bond - 1)):
            if series == "b" and bond == 0 and not _acetylated(peptidoform):
                continue  # b ions are cyclic; without an acetyl group b1 cannot close the ring
            brightness = weight * share**1.5 * (0.7 * np.exp(-energy / 60) if series == "b" else 1.0)
            span = slice(0, number) if series == "b" else slice(length - number, length)
            sites = [site for position, site in phosphates if span.start < position <= span.stop]
            loss_shares = _losses(letters[span], sites)
            protons = np.arange(1, min(charge, 3) + 1)
            likely = np.exp(-((protons - max(share * charge, 1.0)) ** 2) / 0.4)
            for proton, charge_share in zip(protons.tolist(), likely / likely.sum(), strict=True):
                fragments += [
                    (series, number, proton, loss, float(brightness * charge_share * loss_share))
                    for loss, loss_share in loss_shares.items()
                ]
    return fragments


def _acetylated(peptidoform: Peptide) -> bool:
    return any(position == 0 for position, _ in peptidoform.modifications)


def _losses(letters: str, phosphates: Sequence[str]) -> dict[str, float]:
    """Neutral losses of a fragment and their shares; '' is the intact fragment. phosphates: phosphorylated residues."""
    kept = 1.0
    for site in phosphates:
        kept *= 1 - PHOSPHATE_LOST[site]
    lost = {"H3PO4": 1 - kept}
    lost["H2O"] = kept * 0.12 * (1 - 0.7 ** sum(map("STED".count, letters)))
    lost["NH3"] = kept * 0.10 * (1 - 0.7 ** sum(map("RKNQ".count, letters)))
    return {"": kept - lost["H2O"] - lost["NH3"]} | {loss: share for loss, share in lost.items() if share > 0}


@dataclass(frozen=True)
class SimulatedPeptides:
    """Simulated peptides with one property; the same arguments give the same peptides.

    what: "retention", "charge" or "charges", with the labels of PeptideFiles. modified: share of peptides with a
    modification. A smaller count gives the first peptides of a larger one; `what` does not change the peptides.
    """

    count: int = 10_000
    what: str = "retention"
    seed: int = 0
    modified: float = 0.2

    def __post_init__(self) -> None:
        _check_arguments(self.count, self.modified)
        if self.what not in WHATS:
            raise ValueError(f"what={self.what} must be one of {', '.join(WHATS)}")

    def fingerprint(self) -> str:
        """Cache key: differs if the peptides differ."""
        return f"simulated-peptides/{RULE}/{self.count}/{self.what}/{self.seed}/{self.modified}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of at most 2,000 peptides. columns: only `letters`, the residues, is available."""
        if unknown := [name for name in columns if name != "letters"]:
            raise ConfigError(f"the simulated source has no column {', '.join(unknown)}, only letters")
        labels = CHARGES if self.what == "charges" else (self.what,)
        for first in range(0, self.count, CHUNK):
            numbers = range(first, min(first + CHUNK, self.count))
            drawn = [_draw_peptide(self.seed, number, self.modified) for number in numbers]
            label_rows = [self._labels(peptidoform, random) for peptidoform, random in drawn]
            ids = [f"sim-{self.seed}-{number}" for number in numbers]
            yield LabelTable(
                ids,
                [peptidoform.proforma for peptidoform, _ in drawn],
                {name: [row[index] for row in label_rows] for index, name in enumerate(labels)},
                {name: [peptidoform.letters for peptidoform, _ in drawn] for name in columns},
                [f"simulated peptide {number + 1}" for number in numbers],
            )

    def _labels(self, peptidoform: Peptide, random: np.random.Generator) -> list[str]:
        if self.what == "retention":
            return [f"{retention(peptidoform) + NOISE * random.standard_normal():.3f}"]
        shares = charge_shares(peptidoform)
        if self.what == "charge":
            return [CHARGES[random.choice(len(CHARGES), p=shares)]]
        return ["01"[int(share >= SEEN)] for share in shares]


@dataclass(frozen=True)
class SimulatedFragments:
    """Simulated fragment intensities of the same peptides, each at one charge and one collision energy.

    Normalised collision energies are between 20 and 35. noise: standard deviation of the natural log of an intensity.
    """

    count: int = 10_000
    seed: int = 0
    modified: float = 0.2
    noise: float = 0.15

    def __post_init__(self) -> None:
        _check_arguments(self.count, self.modified)
        if self.noise < 0:
            raise ValueError(f"noise={self.noise} must be 0 or more")

    def fingerprint(self) -> str:
        """Cache key: differs if the spectra differ."""
        return f"simulated-fragments/{RULE}/{self.count}/{self.seed}/{self.modified}/{self.noise}"

    def chunks(self) -> Iterator[FragmentTable]:
        """Tables of at most 2,000 spectra."""
        for first in range(0, self.count, CHUNK):
            numbers = range(first, min(first + CHUNK, self.count))
            yield FragmentTable.of([self._spectrum(number) for number in numbers])

    def _spectrum(self, number: int) -> Spectrum:
        peptidoform, random = _draw_peptide(self.seed, number, self.modified)
        charge = int(CHARGES[random.choice(len(CHARGES), p=charge_shares(peptidoform))])
        energy = round(random.uniform(20, 35), 1)
        candidates = fragment_intensities(peptidoform, charge, energy)
        intensities = np.array([intensity for *_, intensity in candidates])
        intensities *= np.exp(self.noise * random.standard_normal(len(intensities)))
        intensities /= intensities.max()
        fragments: list[Fragment] = [
            (series, ion_number, proton, loss, float(intensity))
            for (series, ion_number, proton, loss, _), intensity in zip(candidates, intensities, strict=True)
            if intensity >= FAINTEST
        ]
        name, source = f"sim-{self.seed}-{number}", f"simulated peptide {number + 1}"
        return Spectrum(name, peptidoform.proforma, charge, energy, "simulated", source, fragments)


def _draw_peptide(seed: int, number: int, modified: float) -> tuple[Peptide, np.random.Generator]:
    """The peptide with an index, and its generator, which continues after the draws for the peptide."""
    random = np.random.Generator(np.random.PCG64([seed, number]))
    return peptide(random, modified), random


def _check_arguments(count: int, modified: float) -> None:
    if count < 1:
        raise ValueError(f"count={count} must be 1 or more")
    if not 0 <= modified <= 1:
        raise ValueError(f"modified={modified} must be from 0 to 1")
