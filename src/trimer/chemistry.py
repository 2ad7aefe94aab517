"""Molecules as keys and masses: canonical SMILES, InChIKey block 1, Murcko scaffold, formula, adducts.

Every function returns None for text that is no molecule; none of them raises or prints.
Masses are monoisotopic, in Da; m/z in Th.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from rdkit import Chem, RDLogger
from rdkit.Chem.Descriptors import ExactMolWt
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol

RDLogger.DisableLog("rdApp.*")

ELECTRON = 0.000548579909  # Da


def parse(smiles: str) -> Chem.Mol | None:
    """The molecule of a SMILES, or None when RDKit cannot read it or it holds no atom."""
    if not isinstance(smiles, str) or not smiles:
        return None
    try:
        molecule = Chem.MolFromSmiles(smiles)
    except Exception:  # RDKit raises its own C++ types on some malformed text
        return None
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def canonical_smiles(smiles: str, stereo: bool = False) -> str | None:
    """RDKit-canonical SMILES; stereochemistry is dropped unless asked for."""
    molecule = parse(smiles)
    if molecule is None:
        return None
    text = Chem.MolToSmiles(molecule, isomericSmiles=stereo)
    # Deuterium without its isotope is a written-out [H], and odd bonds change when read: the second writing stays.
    again = Chem.MolFromSmiles(text) if "[H]" in text or "~" in text else None
    return text if again is None else Chem.MolToSmiles(again, isomericSmiles=stereo)


def inchikey_block1(molecule: Chem.Mol | None) -> str | None:
    """First block of the InChIKey: the skeleton without stereo, isotopes and mobile hydrogens; identity in Trimer."""
    if molecule is None:
        return None
    key = Chem.MolToInchiKey(molecule)
    return key[:14] if key else None


def murcko_scaffold(molecule: Chem.Mol | None) -> str | None:
    """Bemis-Murcko scaffold as SMILES; the empty string for a molecule without rings."""
    if molecule is None:
        return None
    try:
        return Chem.MolToSmiles(GetScaffoldForMol(molecule), isomericSmiles=False)
    except Exception:  # valence errors of exotic atoms after the side chains are cut
        return None


def formula(molecule: Chem.Mol | None) -> str | None:
    """Molecular formula in Hill order, charge included."""
    return None if molecule is None else CalcMolFormula(molecule)


def exact_mass(molecule: Chem.Mol | None) -> float | None:
    """Monoisotopic mass in Da."""
    return None if molecule is None else ExactMolWt(molecule)


@dataclass(frozen=True)
class Adduct:
    """An ion form: m/z = (multiplicity * M + shift) / |charge|, the shift with the electrons counted."""

    name: str
    multiplicity: int
    charge: int
    shift: float

    def mz(self, mass: float) -> float:
        return (self.multiplicity * mass + self.shift) / abs(self.charge)

    def mass(self, mz: float) -> float:
        return (mz * abs(self.charge) - self.shift) / self.multiplicity


_H, _NA, _K, _NH4 = 1.00782503207, 22.9897692809, 38.96370668, 18.03437413
_H2O, _CL, _HCOO, _CH3COO, _LI = 18.0105646837, 34.96885268, 44.99765, 59.0133, 7.01600455
_FORMS = [
    ("[M+H]+", 1, 1, _H), ("[M+Na]+", 1, 1, _NA), ("[M+K]+", 1, 1, _K), ("[M+NH4]+", 1, 1, _NH4),
    ("[M+Li]+", 1, 1, _LI), ("[M]+", 1, 1, 0.0), ("[M-H2O+H]+", 1, 1, _H - _H2O), ("[M-2H2O+H]+", 1, 1, _H - 2 * _H2O),
    ("[2M+H]+", 2, 1, _H), ("[2M+Na]+", 2, 1, _NA), ("[M+2H]2+", 1, 2, 2 * _H),
    ("[M-H]-", 1, -1, -_H), ("[M+Cl]-", 1, -1, _CL), ("[M+HCOO]-", 1, -1, _HCOO), ("[M+CH3COO]-", 1, -1, _CH3COO),
    ("[M]-", 1, -1, 0.0), ("[M-H2O-H]-", 1, -1, -_H - _H2O), ("[2M-H]-", 2, -1, -_H), ("[M-2H]2-", 1, -2, -2 * _H),
]  # fmt: skip
ADDUCTS: dict[str, Adduct] = {n: Adduct(n, m, c, s - c * ELECTRON) for n, m, c, s in _FORMS}

_ALIASES = {
    "M+H": "[M+H]+", "M+NA": "[M+Na]+", "M+K": "[M+K]+", "M+NH4": "[M+NH4]+", "M-H": "[M-H]-", "M+CL": "[M+Cl]-",
    "M+": "[M]+", "M-": "[M]-", "M-H2O+H": "[M-H2O+H]+", "M+H-H2O": "[M-H2O+H]+", "M+FA-H": "[M+HCOO]-",
    "M+HCOOH-H": "[M+HCOO]-", "M+CHO2": "[M+HCOO]-", "M+CH3COOH-H": "[M+CH3COO]-", "M+C2H3O2": "[M+CH3COO]-",
    "2M+H": "[2M+H]+",
    "2M+NA": "[2M+Na]+", "M+2H": "[M+2H]2+", "M-2H": "[M-2H]2-", "2M-H": "[2M-H]-",
    "M+HCOO": "[M+HCOO]-", "M+CH3COO": "[M+CH3COO]-", "M+LI": "[M+Li]+",
}  # fmt: skip


@functools.lru_cache(maxsize=4096)
def harmonise_adduct(text: str | None) -> str | None:
    """The adduct in the form '[M+H]+', whatever brackets, case and charge sign it has; None if it is not known."""
    if not text:
        return None
    text = text.strip().replace(" ", "")
    if text in ADDUCTS:
        return text
    inside, _, outside = text.upper().lstrip("[").partition("]")
    core = inside.rstrip("*")
    trimmed = core.rstrip("+-0123456789")
    found = _ALIASES.get(core) or _ALIASES.get(trimmed if trimmed != core else core[:-1])
    stated = _charge(outside)
    return found if found is None or stated is None or stated == ADDUCTS[found].charge else None


def _charge(text: str) -> int | None:
    """The charge that stands behind the bracket, as `2+`, `+2`, `++` or `+`; None where there is none."""
    signs = [sign for sign in text if sign in "+-"]
    if not signs:
        return None
    digits = "".join(character for character in text if character.isdigit())
    return (int(digits) if digits else len(signs)) * (1 if signs[0] == "+" else -1)
