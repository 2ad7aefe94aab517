"""Adducts read as formulas: what is added to and removed from a molecule M, and the charge of the ion.

An adduct is `[nM±pX±qY...]z`: n molecules, groups X with their counts, and a charge z as `+`, `2+`, `+2` or `++`. A
group is a molecular formula or one of ABBREVIATIONS. The m/z follows from the atoms and the charge alone:

    m/z = (n * mass of M + mass of the groups - z * mass of an electron) / |z|

The stated charge must be one that the groups can carry (H+, Na+, Cl-, HCOO-; water and acetonitrile carry none), so
`[M+H]2+` is rejected. An electron may be gained or lost where the ion is M itself or M after losses (`[M]+`,
`[M-HF]-`), or with a radical mark (`[M-2H]-.`). In `[Cat]+` the molecule is itself a cation.

Deliberately not accepted: `[M+FA]-` and `[M+ACN]+` (no ion without a radical mark: a proton is missing),
isotopes other than D, names of groups that are not in ABBREVIATIONS.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from trimer.chemistry.adduct_groups import (
    ABBREVIATIONS,
    AdductError,
    Atoms,
    charges_of,
    composition,
    elements,
    is_ionic,
    spelling,
)

__all__ = [
    "ABBREVIATIONS",
    "COMMON",
    "ELECTRON",
    "Adduct",
    "AdductError",
    "harmonise_adduct",
    "parse_adduct",
    "read_adduct",
]

ELECTRON = 0.000548579909  # Da

# Canonical names of frequent ions; the spectrum tokenizer has tokens for the first 19.
COMMON = (
    "[M+H]+", "[M+Na]+", "[M+K]+", "[M+NH4]+", "[M+Li]+", "[M]+", "[M-H2O+H]+", "[M-2H2O+H]+", "[2M+H]+", "[2M+Na]+",
    "[M+2H]2+", "[M-H]-", "[M+Cl]-", "[M+HCOO]-", "[M+CH3COO]-", "[M]-", "[M-H2O-H]-", "[2M-H]-", "[M-2H]2-",
    "[M+H+NH4]2+", "[M+H+Na]2+", "[M+H+K]2+", "[M+2Na]2+", "[M+ACN+2H]2+", "[M+2ACN+2H]2+", "[M+3ACN+2H]2+",
    "[M+3H]3+", "[M+2H+Na]3+", "[M+H+2Na]3+", "[M+3Na]3+", "[M-NH3+H]+", "[M+CH3OH+H]+", "[M+ACN+H]+", "[M+ACN+Na]+",
    "[M+2ACN+H]+", "[M+2Na-H]+", "[M+2K-H]+", "[M+IsoProp+H]+", "[M+IsoProp+Na+H]2+", "[M+DMSO+H]+", "[2M+NH4]+",
    "[2M+K]+", "[2M+ACN+H]+", "[2M+ACN+Na]+", "[M-3H]3-", "[M+Na-2H]-", "[M+K-2H]-", "[M+Br]-", "[M+TFA-H]-",
    "[2M+FA-H]-", "[2M+Hac-H]-", "[2M+Na-2H]-", "[3M-H]-",
)  # fmt: skip

_MOLECULE = re.compile(r"(\d?)(M|Cat)((?:[+-].*)?)", re.IGNORECASE)
_GROUP = re.compile(r"([+-])([1-9]?)([A-Za-z(][A-Za-z0-9()]*)")
_CHARGE = re.compile(r"([1-9]?)([+-])|([+-])([1-9])|(\++|-+)")
_RADICAL = str.maketrans("", "", "*.•·")
_MINUS = str.maketrans("−–—‐‑", "-----")


@dataclass(frozen=True)
class Adduct:
    """An ion form. Masses are monoisotopic, in Da; m/z in Th.

    name: canonical, such as '[M+H]+'. multiplicity: molecules in the ion. charge: signed. shift: mass of the
    groups minus that of the missing electrons. atoms: what the groups add (element, number; negative: lost).
    molecule_charges: the formal charges that M may have: 0, that of a cation for [Cat]+, either for [M]+.
    """

    name: str
    multiplicity: int
    charge: int
    shift: float
    atoms: tuple[tuple[str, int], ...] = ()
    molecule_charges: tuple[int, ...] = (0,)

    def mz(self, mass: float, charge: int = 0) -> float:
        """m/z of the ion of a molecule of this mass and formal charge; a cation's mass lacks the electron already."""
        return (self.multiplicity * (mass + charge * ELECTRON) + self.shift) / abs(self.charge)

    def mass(self, mz: float, charge: int = 0) -> float:
        """Mass of the molecule, of this formal charge, whose ion has this m/z."""
        return (mz * abs(self.charge) - self.shift) / self.multiplicity - charge * ELECTRON


def harmonise_adduct(text: str | None) -> str | None:
    """The canonical name of an adduct, such as '[M+H]+', from any spelling; None if it cannot be read."""
    adduct = parse_adduct(text)
    return None if adduct is None else adduct.name


@functools.lru_cache(maxsize=4096)
def parse_adduct(text: str | None) -> Adduct | None:
    """The adduct of a text such as '[M+H]+', 'M+Na', '[2M+FA-H]-', '[M]+*' or '[Cat]+'; None for any other text."""
    try:
        return read_adduct(text or "")
    except AdductError:
        return None


def read_adduct(text: str) -> Adduct:
    """Like `parse_adduct`, but raises AdductError with the reason."""
    adduct = _read(text)
    common = _common().get(_identity(adduct))
    return adduct if common is None else common


def _read(text: str) -> Adduct:
    plain = unicodedata.normalize("NFKC", text).translate(_MINUS)
    plain = "".join(plain.split())
    if plain.startswith("(M") or plain.startswith("(2M"):
        plain = plain.replace("(", "[", 1).replace(")", "]", 1)
    first: AdductError | None = None
    for inside, outside in _readings(plain):
        try:
            return _ion(inside, outside)
        except AdductError as error:
            first = first or error
    raise first or AdductError("it is not of the form [M+H]+")


def _readings(plain: str) -> Iterable[tuple[str, str]]:
    """Possible contents of the brackets and the charge after them; without brackets the longest charge first.

    Without brackets the charge ends in its sign: 'M+1' is an isotope peak.
    """
    if plain.startswith("["):
        inside, bracket, outside = plain[1:].partition("]")
        if bracket:
            yield inside, outside
        return
    bare = plain.translate(_RADICAL)
    mark = "*" if bare != plain else ""
    for end in range(1, len(bare)):
        if _CHARGE.fullmatch(bare[end:]) and bare[-1] in "+-":
            yield bare[:end], bare[end:] + mark
    if bare:
        yield bare, mark


def _ion(inside: str, outside: str) -> Adduct:
    signs = outside.translate(_RADICAL)
    radical = signs != outside or inside.translate(_RADICAL) != inside
    molecule = _MOLECULE.fullmatch(inside.translate(_RADICAL))
    if molecule is None:
        raise AdductError("it does not begin with M, a multiple such as 2M, or Cat")
    multiplicity, cation = int(molecule[1] or 1), molecule[2].lower() == "cat"
    if multiplicity == 0:
        raise AdductError("it holds no molecule")
    groups = _groups(molecule[3])
    carried = _carried(groups)
    charge = _stated(signs)
    if charge is None:
        charge = next(iter(carried - {0}), None) if len(carried - {0}) == 1 and not cation else None
        if charge is None:
            raise AdductError("it states no charge")
    allowed, marked = _molecule_charges(charge, carried, groups, multiplicity, radical, cation)
    atoms: Counter[str] = Counter()
    for count, group in groups:
        for element, number in group.items():
            atoms[element] += count * number
    net = tuple(sorted((element, number) for element, number in atoms.items() if number))
    shift = sum(elements()[element][1] * number for element, number in net) - charge * ELECTRON
    name = _name(multiplicity, cation, groups, charge) + ("*" if marked else "")
    return Adduct(name, multiplicity, charge, shift, net, allowed)


def _molecule_charges(
    charge: int, carried: set[int], groups: list[tuple[int, Atoms]], multiplicity: int, radical: bool, cation: bool
) -> tuple[tuple[int, ...], bool]:
    """Formal charges of the molecule for which the ion has this charge, and whether that needs a radical mark.

    AdductError if no such molecule exists.
    """
    if cation:
        molecule_charges = sorted({charge - q for q in carried if charge - q > 0})
        if multiplicity != 1 or not molecule_charges:
            raise AdductError("the charge does not fit a molecule that is a cation")
        return tuple(molecule_charges), False
    if charge in carried:
        return (0,), False
    if not groups:  # an electron lost or gained, or a molecule that carries this charge itself
        return (0, charge) if abs(charge) == 1 else (charge,), False
    if abs(charge) == 1 and 0 in carried and all(count < 0 for count, _ in groups):
        return (0,), False
    if radical and any(abs(charge - q) == 1 for q in carried):
        return (0,), True
    group_charges = " or ".join(_signed(q) if q else "none" for q in sorted(carried))
    raise AdductError(f"it states the charge {_signed(charge)}, and its groups carry {group_charges}")


def _carried(groups: list[tuple[int, Atoms]]) -> set[int]:
    """The charges that the groups can carry together."""
    totals = {0}
    for count, group in groups:
        charges = charges_of(group, added=count > 0)
        totals = {total + count * charge for total in totals for charge in charges}
    return totals


def _groups(text: str) -> list[tuple[int, Atoms]]:
    """The groups of '+2Na-H' with their signed counts."""
    groups, end = [], 0
    for match in _GROUP.finditer(text):
        if match.start() != end:
            break
        sign, count, name = match.groups()
        groups.append((int(sign + (count or "1")), composition(name)))
        end = match.end()
    if end != len(text):
        raise AdductError(f"'{text[end:]}' is not a group with a sign")
    return groups


def _stated(signs: str) -> int | None:
    """The charge after the bracket; None if the text gives no charge."""
    if not signs:
        return None
    match = _CHARGE.fullmatch(signs)
    if match is None:
        raise AdductError(f"'{signs}' is not a charge")
    if match[5]:
        return len(match[5]) * (1 if match[5][0] == "+" else -1)
    return int((match[2] or match[3]) + (match[1] or match[4] or "1"))


def _name(multiplicity: int, cation: bool, groups: list[tuple[int, Atoms]], charge: int) -> str:
    """Neutral losses, neutral gains, ions, then hydrogen: '[M-H2O+H]+', '[M+ACN+Na]+'."""
    counts: Counter[tuple[int, str]] = Counter()
    for count, group in groups:
        name = spelling(group, added=count > 0)
        counts[3 if name in ("H", "D") else 2 if is_ionic(group) else 1 if count > 0 else 0, name] += count
    parts = [
        ("+" if count > 0 else "-") + (str(abs(count)) if abs(count) > 1 else "") + name
        for (_, name), count in sorted(counts.items())
        if count
    ]
    return f"[{multiplicity if multiplicity > 1 else ''}{'Cat' if cation else 'M'}{''.join(parts)}]{_signed(charge)}"


def _signed(charge: int) -> str:
    """'2+' of 2, '-' of -1."""
    return (str(abs(charge)) if abs(charge) > 1 else "") + ("+" if charge > 0 else "-")


def _identity(adduct: Adduct) -> tuple:
    """A key that is equal for all spellings of an ion."""
    return adduct.multiplicity, adduct.charge, adduct.atoms, "Cat" in adduct.name


@functools.cache
def _common() -> dict[tuple, Adduct]:
    return {_identity(adduct): Adduct(**{**vars(adduct), "name": name}) for name in COMMON for adduct in [_read(name)]}
