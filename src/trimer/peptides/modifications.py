"""Modifications of peptides by UNIMOD id or title, search engine name, formula or mass delta.

`unimod.csv` holds the id, title and composition of 1,524 modifications of UNIMOD (unimod.org), as of alphabase 1.10.
A composition is the difference from the unmodified peptide. Masses are monoisotopic, in Da.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources

import numpy as np

MASSES = {
    "C": 12.0, "H": 1.00782503207, "N": 14.0030740048, "O": 15.99491461956, "P": 30.97376163, "S": 31.972071,
    "Ag": 106.905097, "Al": 26.98153863, "As": 74.9215965, "B": 11.0093054, "Br": 78.9183371, "Ca": 39.96259098,
    "Cl": 34.96885268, "Cu": 62.9295975, "F": 18.99840322, "Fe": 55.9349375, "Hg": 201.970643, "I": 126.904473,
    "K": 38.96370668, "Li": 7.01600455, "Mg": 23.9850417, "Mo": 97.9054082, "Na": 22.9897692809, "Ni": 57.9353429,
    "Se": 79.9165213, "Si": 27.9769265325, "Zn": 63.9291422,
}  # fmt: skip
ISOTOPES = {"13C": 13.0033548378, "2H": 2.0141017778, "15N": 15.0001088982, "18O": 17.999161}
ELEMENTS: tuple[str, ...] = tuple(MASSES)
TOLERANCE, CLOSE = 0.01, 0.001  # largest Da between a mass delta and its modification
ROUNDED = 0.5  # the same for a delta without decimals; a tenth of it with one
RARE = frozenset({"Sulfo"})  # a rounded delta never means these if another fits: +80 is a phosphate

# Modifications that a mass delta may mean -> their usual residues ("-": a terminus), to choose between equal masses.
COMMON = {
    "Acetyl": "K-", "Amidated": "-", "Ammonia-loss": "NC", "Biotin": "K-", "Butyryl": "K", "Carbamidomethyl": "C",
    "Carbamyl": "K-", "Carboxymethyl": "C", "Cation:Na": "DE", "Crotonyl": "K", "Cysteinyl": "C", "Deamidated": "NQ",
    "Dehydrated": "ST", "Dimethyl": "KR-", "Dimethyl:2H(4)": "K-", "Dimethyl:2H(6)13C(2)": "K-", "Dioxidation": "MW",
    "Formyl": "K-", "GG": "K", "Gln->pyro-Glu": "Q", "Glu->pyro-Glu": "E", "Glutathione": "C", "Hex": "KNT",
    "HexNAc": "NST", "Label:13C(6)": "KR", "Label:13C(6)15N(2)": "K", "Label:13C(6)15N(4)": "R", "Malonyl": "K",
    "Methyl": "KR", "Methylthio": "C", "Nethylmaleimide": "C", "Nitro": "Y", "Oxidation": "M", "Phospho": "STY",
    "Propionamide": "C", "Propionyl": "K", "Pyro-carbamidomethyl": "C", "Succinyl": "K", "Sulfo": "Y", "TMT6plex": "K-",
    "TMTpro": "K-", "Trimethyl": "KR", "Trioxidation": "C", "iTRAQ4plex": "K-", "iTRAQ8plex": "K-",
}  # fmt: skip
ALIASES = {
    "acetylation": "Acetyl", "carbamidomethylation": "Carbamidomethyl", "carbamylation": "Carbamyl",
    "deamidation": "Deamidated", "digly": "GG", "glygly": "GG", "hydroxylation": "Oxidation", "methylation": "Methyl",
    "dimethylation": "Dimethyl", "trimethylation": "Trimethyl", "phosphorylation": "Phospho",
    "pyro-glu from e": "Glu->pyro-Glu", "pyro-glu from q": "Gln->pyro-Glu", "cysteinylation": "Cysteinyl",
    "nitrosylation": "Nitrosyl", "arg10": "Label:13C(6)15N(4)", "arg6": "Label:13C(6)", "lys8": "Label:13C(6)15N(2)",
    "lys6": "Label:13C(6)", "lys4": "Label:2H(4)", "dimethlys0": "Dimethyl", "dimethnter0": "Dimethyl",
    "dimethlys4": "Dimethyl:2H(4)", "dimethnter4": "Dimethyl:2H(4)", "dimethlys8": "Dimethyl:2H(6)13C(2)",
    "dimethnter8": "Dimethyl:2H(6)13C(2)", "tmt10plex": "TMT6plex", "tmt11plex": "TMT6plex",
    "tmt6plex-lys": "TMT6plex", "tmt6plex-nterm": "TMT6plex", "tmt10plex-lys": "TMT6plex", "tmt16plex": "TMTpro",
    "tmt10plex-nterm": "TMT6plex", "tmtpro-lys": "TMTpro", "tmtpro-nterm": "TMTpro", "tmt18plex": "TMTpro",
}  # fmt: skip
# Names with another meaning in search engines than in UNIMOD; with the prefix `U:` they are UNIMOD's.
AMBIGUOUS = {"tmt": "TMT6plex (UNIMOD:737) or TMT without heavy isotopes (UNIMOD:739)"}
SHORT = {
    "ox": "Oxidation", "ac": "Acetyl", "ph": "Phospho", "de": "Deamidated", "ca": "Carbamidomethyl", "me": "Methyl",
    "di": "Dimethyl", "tr": "Trimethyl",
}  # fmt: skip
SHORT_GL = {"Q": "Gln->pyro-Glu", "E": "Glu->pyro-Glu", "K": "GG"}  # MaxQuant's `gl`, by residue

PREFIX = re.compile(r"(?:U|UNIMOD|Obs):(?=\D)", re.I)
UNIMOD_ID = re.compile(r"(?:UNIMOD|U):(\d+)", re.I)
DELTA = re.compile(r"[+-]\d+(?:\.\d*)?|[+-]\.\d+")
# The site after a name, such as ` (Protein N-term)` or `@M`; `Hex(2)` has none.
SITE = re.compile(r"(?:\s+\([^()]*\)|\((?!-?\d+\))[^()]*\)|@\S+)$")
ATOMS = re.compile(r"\s*(?:\[(\d+)([A-Z][a-z]?)(-?\d*)\]|([A-Z][a-z]?)(-?\d*))\s*")


class PeptideError(ValueError):
    """A text that is not a supported peptide; the message is the reason, for a report."""


class UnknownModification(PeptideError):
    """An unknown or ambiguous modification."""


@dataclass(frozen=True)
class Modification:
    """The atoms that a modification adds to a peptide or removes from it.

    id: of UNIMOD, or None. composition: (element, count) in Hill order; isotopes are written as `13C`.
    """

    name: str
    id: int | None
    composition: tuple[tuple[str, int], ...]

    @cached_property
    def mass(self) -> float:
        """Monoisotopic mass, in Da."""
        return composition_mass(self.composition)

    @cached_property
    def proforma(self) -> str:
        """The text between the brackets of ProForma: `UNIMOD:35`, or `Formula:C2H3NO` without an id."""
        return f"Formula:{formula_text(self.composition)}" if self.id is None else f"UNIMOD:{self.id}"


@lru_cache(maxsize=1 << 16)
def modification(text: str, residue: str | None = None) -> Modification:
    """The modification that a text names; UnknownModification if it is unknown or ambiguous.

    Accepts UNIMOD ids (`UNIMOD:4`), UNIMOD titles in any case, with or without a site (`U:Carbamidomethyl`,
    `Oxidation (M)`, `Oxidation@M`), names of search engines (`Deamidation (NQ)`, `Lys8`, `ox`), formulas
    (`Formula:C2H3NO`, `Formula:[13C6]C-6`) and mass deltas in Da (`+57.0215`, `U:+57.02`).

    A mass delta means a modification of `COMMON` within 0.01 Da. If several match, those within 0.001 Da are preferred,
    then those usual at `residue`: the letter, after `-` at a terminus. The tolerance of a rounded delta (`+57`,
    `+80.0`) is its rounding error.
    """
    wanted = text.strip()
    if match := UNIMOD_ID.fullmatch(wanted):
        known = _by_id().get(int(match[1]))
    elif wanted[:8].lower() == "formula:":
        known = _of_formula(SITE.sub("", wanted[8:]).strip())
    else:
        if PREFIX.match(wanted):
            wanted = PREFIX.sub("", wanted, count=1)
        elif could_be := AMBIGUOUS.get(SITE.sub("", wanted.lower()).strip()):
            raise UnknownModification(f"ambiguous modification [{text}]: {could_be}; write the UNIMOD id")
        known = _of_delta(float(wanted), text, residue) if DELTA.fullmatch(wanted) else _of_name(wanted, residue)
    if known is None:
        raise UnknownModification(f"unknown modification [{text}]")
    return known


def composition_vector(modifications: Iterable[Modification]) -> np.ndarray:
    """Total atoms of the modifications, (len(ELEMENTS),) int16; isotopes count as their element."""
    total = np.zeros(len(ELEMENTS), np.int16)
    for modification in modifications:
        total += _vector(modification)
    return total


def composition_mass(composition: Iterable[tuple[str, int]]) -> float:
    """Monoisotopic mass in Da."""
    return sum((MASSES.get(element) or ISOTOPES[element]) * count for element, count in composition)


def parse_formula(text: str) -> tuple[tuple[str, int], ...] | None:
    """`C2H3NO`, `H-1N-1O` or `C-6[13C6]` as a composition in Hill order; None if it cannot be read.

    As in ProForma, a count may be negative and an isotope is in brackets.
    """
    counts: dict[str, int] = {}
    end = 0
    while match := ATOMS.match(text, end):
        isotope, heavy, heavy_count, light, light_count = match.groups()
        element = f"{isotope}{heavy}" if isotope else light
        if (element not in MASSES and element not in ISOTOPES) or "-" in (heavy_count, light_count):
            return None
        counts[element] = counts.get(element, 0) + int(heavy_count or light_count or 1)
        end = match.end()
    if end < len(text) or not counts:
        return None
    return tuple((element, counts[element]) for element in sorted(counts, key=_hill) if counts[element])


def formula_text(composition: Iterable[tuple[str, int]]) -> str:
    """A composition as text that `parse_formula` reads."""
    texts = [(element, element + ("" if count == 1 else str(count))) for element, count in composition]
    return "".join(f"[{text}]" if element in ISOTOPES else text for element, text in texts)


def _hill(element: str) -> tuple[int, str, bool]:
    """Sort key: carbon, hydrogen, then the alphabet; an isotope after its element."""
    plain = element.lstrip("0123456789")
    return {"C": 0, "H": 1}.get(plain, 2), plain, plain != element


@lru_cache(maxsize=4096)
def _vector(modification: Modification) -> np.ndarray:
    vector = np.zeros(len(ELEMENTS), np.int16)
    for element, count in modification.composition:
        vector[ELEMENTS.index(element.lstrip("0123456789"))] += count
    return vector


@cache
def _by_id() -> dict[int, Modification]:
    """Every modification of UNIMOD by its id."""
    text = resources.files(__package__).joinpath("unimod.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {int(r["id"]): Modification(r["name"], int(r["id"]), parse_formula(r["composition"]) or ()) for r in rows}


@cache
def _by_name() -> dict[str, Modification]:
    """Every modification by title and by search engine names, in lower case."""
    names = {entry.name.lower(): entry for entry in _by_id().values()}
    return {alias: names[name.lower()] for alias, name in (ALIASES | SHORT).items()} | names


def _of_name(name: str, residue: str | None) -> Modification | None:
    key = name.lower()
    if key == "gl":
        key = SHORT_GL.get((residue or "")[-1:], "").lower()
    names = _by_name()
    return names.get(key) or names.get(SITE.sub("", key).strip())


def _of_formula(text: str) -> Modification | None:
    composition = parse_formula(text)
    return None if composition is None else Modification(formula_text(composition), None, composition)


def _of_delta(delta: float, text: str, residue: str | None) -> Modification | None:
    names = _by_name()
    decimals = len(text.strip().partition(".")[2])
    rounded = decimals < 2
    tolerance = ROUNDED / 10**decimals if rounded else TOLERANCE
    near = [name for name in COMMON if abs(names[name.lower()].mass - delta) <= tolerance]
    if len(near) > 1 and not rounded:
        near = [name for name in near if abs(names[name.lower()].mass - delta) <= CLOSE] or near
    if len(near) > 1:
        near = [name for name in near if set(residue or "") & set(COMMON[name])] or near
    if len(near) > 1 and rounded:
        near = [name for name in near if name not in RARE] or near
    if len(near) > 1:
        raise UnknownModification(f"ambiguous modification [{text}]: {' or '.join(near)}")
    return names[near[0].lower()] if near else None
