"""The groups that adducts are made of: abbreviations, compositions, the charges they carry, and their names."""

from __future__ import annotations

import functools
import re
from collections import Counter

# Usual abbreviations, for gains and losses, in upper or lower case.
ABBREVIATIONS = {
    "ACN": "C2H3N", "MeCN": "C2H3N", "FA": "CH2O2", "Hac": "C2H4O2", "HOAc": "C2H4O2", "AcOH": "C2H4O2",
    "TFA": "C2HF3O2", "MeOH": "CH3OH", "EtOH": "C2H5OH", "IsoProp": "C3H8O", "iPrOH": "C3H8O", "IPA": "C3H8O",
    "DMSO": "C2H6OS", "DMF": "C3H7NO", "TEA": "C6H15N", "OAc": "CH3COO", "Acetate": "CH3COO", "Formate": "HCOO",
    "Hex": "C6H10O5", "Pent": "C5H8O4", "dHex": "C6H10O4", "HexA": "C6H8O6",
}  # fmt: skip
# Charges of a group when it is added; groups in neither list are neutral.
CATIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("H", "D", "Li", "Na", "K", "Rb", "Cs", "Ag", "Tl", "NH4", "H3O"), (1,)),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba", "Zn", "Mn", "Ni", "Cd", "Pb"), (2,)),
    **dict.fromkeys(("Fe", "Co", "Cr"), (2, 3)), "Cu": (1, 2), "Al": (3,),
}  # fmt: skip
ANIONS = (
    "F", "Cl", "Br", "I", "OH", "CN", "SCN", "HCOO", "CH3COO", "CF3COO", "NO2", "NO3", "HCO3", "HSO4", "H2PO4", "ClO4",
    "BF4", "PF6", "CH3SO3", "C3H5O3",
)  # fmt: skip
# How a composition is written in the name of an adduct where the Hill order would be unusual.
_SPELLINGS = (
    *CATIONS, *ANIONS, "NH3", "HF", "HCl", "HBr", "HI", "HCN", "SO2", "SO3", "HPO3", "H3PO4", "CH3OH", "CH3NH2",
)  # fmt: skip
_SOLVENTS = ("ACN", "FA", "Hac", "TFA", "IsoProp", "DMSO", "DMF", "TEA")  # name of a gain of these atoms

_ATOM = re.compile(r"([A-Z][a-z]?)(\d*)")

Atoms = dict[str, int]  # element -> number


class AdductError(ValueError):
    """A text that is not an adduct; the message is the reason, as a clause."""


@functools.lru_cache(maxsize=4096)
def composition(name: str) -> Atoms:
    """Atoms of an abbreviation or a formula; elements in capitals ('NA', 'CL') are a last resort."""
    abbreviated = _abbreviations().get(name.lower())
    if abbreviated is not None:
        return abbreviated
    atoms = _formula(name)
    if atoms is None and name.lower() in _carriers():
        return _carriers()[name.lower()]
    if atoms is None:
        raise AdductError(f"'{name}' is neither a formula nor a known abbreviation, such as {', '.join(_SOLVENTS)}")
    return atoms


def _formula(text: str) -> Atoms | None:
    """Atoms of a formula such as C6H10O5 or (CH3)2NH; None for any other text."""
    while bracket := re.search(r"\(([A-Za-z0-9]+)\)(\d*)", text):
        inner = _formula(bracket[1])
        if inner is None:
            return None
        times = int(bracket[2] or 1)
        text = text[: bracket.start()] + "".join(f"{e}{n * times}" for e, n in inner.items()) + text[bracket.end() :]
    atoms: Counter[str] = Counter()
    end = 0
    for match in _ATOM.finditer(text):
        if match.start() != end or match[1] not in elements() or match[2] == "0":
            return None
        atoms[match[1]] += int(match[2] or 1)
        end = match.end()
    return dict(atoms) if text and end == len(text) else None


def charges_of(atoms: Atoms, added: bool) -> tuple[int, ...]:
    """Possible charges of an added group, from CATIONS and ANIONS; the caller reverses those of a lost group.

    Any other group is neutral if its electrons are paired. With an odd number of electrons it is an ion when it is
    added (C3H10N+), and a radical when it is lost (CH3); a lost anion may also be a radical (Br).
    """
    known = _charges().get(_key(atoms))
    if known is None:
        electrons = sum(elements()[element][0] * number for element, number in atoms.items())
        return (1, -1) if added and electrons % 2 else (0,)
    return known if added or known != (-1,) else (-1, 0)


def is_ionic(atoms: Atoms) -> bool:
    """Whether the group is in CATIONS or ANIONS."""
    return _key(atoms) in _charges()


def spelling(atoms: Atoms, added: bool) -> str:
    """Canonical text of a group: the name of an added solvent, a usual formula, or the Hill formula."""
    solvent = _solvents().get(_key(atoms)) if added else None
    return solvent or _spellings().get(_key(atoms)) or _hill(atoms)


def _hill(atoms: Atoms) -> str:
    order = sorted(atoms, key=lambda e: (e != "C", e != "H", e) if "C" in atoms else (True, True, e))
    return "".join(e + (str(atoms[e]) if atoms[e] > 1 else "") for e in order)


def _known_formula(text: str) -> Atoms:
    """Atoms of a formula in the tables of this module."""
    atoms = _formula(text)
    if atoms is None:
        raise ValueError(f"{text} is not a formula")
    return atoms


def _key(atoms: Atoms) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(atoms.items()))


@functools.cache
def elements() -> dict[str, tuple[int, float]]:
    """Atomic number and mass (Da) of the most frequent isotope of each element, from RDKit; D is deuterium."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    natural = {table.GetElementSymbol(z): (z, table.GetMostCommonIsotopeMass(z)) for z in range(1, 93)}
    return {**natural, "D": (1, table.GetMassForIsotope(1, 2))}


@functools.cache
def _charges() -> dict[tuple, tuple[int, ...]]:
    cations = {_key(_known_formula(name)): charges for name, charges in CATIONS.items()}
    return cations | {_key(_known_formula(name)): (-1,) for name in ANIONS}


@functools.cache
def _abbreviations() -> dict[str, Atoms]:
    return {name.lower(): _known_formula(text) for name, text in ABBREVIATIONS.items()}


@functools.cache
def _carriers() -> dict[str, Atoms]:
    return {name.lower(): _known_formula(name) for name in (*CATIONS, *ANIONS)}


@functools.cache
def _spellings() -> dict[tuple, str]:
    return {_key(_known_formula(name)): name for name in _SPELLINGS}


@functools.cache
def _solvents() -> dict[tuple, str]:
    return {_key(_known_formula(ABBREVIATIONS[name])): name for name in _SOLVENTS}
