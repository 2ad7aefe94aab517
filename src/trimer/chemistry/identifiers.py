"""Molecules as keys and masses: canonical SMILES, InChIKey block 1, Murcko scaffold, formula.

Every function returns None for text that is not a molecule; none of them raises or prints.
Masses are monoisotopic, in Da; m/z in Th.
"""

from __future__ import annotations

from rdkit import Chem, RDLogger
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt, CalcMolFormula
from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol

from trimer.chemistry.adducts import COMMON, ELECTRON, Adduct, harmonise_adduct, parse_adduct

__all__ = [
    "ADDUCTS",
    "ELECTRON",
    "Adduct",
    "canonical_smiles",
    "exact_mass",
    "formula",
    "harmonise_adduct",
    "inchikey_block1",
    "murcko_scaffold",
    "parse",
    "parse_inchi",
]

RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # the stubs of RDKit lack it

# Frequent adducts; `trimer.chemistry.adducts.parse_adduct` reads all others.
ADDUCTS: dict[str, Adduct] = {name: adduct for name in COMMON if (adduct := parse_adduct(name)) is not None}


LARGEST_SCAFFOLD = (
    500  # atoms; the time of a scaffold grows with the cube of the size: here 0.2 s, at 5,000 atoms minutes
)
LONGEST = 10_000  # characters of a SMILES; the time of RDKit's canonical order grows with the square of the length


def parse(smiles: str | None) -> Chem.Mol | None:
    """The molecule of a SMILES, or None if RDKit cannot read it, it has no atom, or it is longer than LONGEST."""
    if not isinstance(smiles, str) or not 0 < len(smiles) <= LONGEST or foreign_sign(smiles):
        return None
    try:
        molecule = Chem.MolFromSmiles(smiles)
    except Exception:  # RDKit raises its own C++ types on some malformed text
        return None
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def foreign_sign(smiles: str) -> str | None:
    """The first sign that no SMILES has, in front of the name that may follow a blank or a tab; None if there is none.

    RDKit ends the molecule at such a sign without an error: it reads `CCÖ` as `CC`.
    """
    if smiles.isascii() and smiles.isprintable():
        return None
    text = smiles.strip().partition(" ")[0].partition("\t")[0]
    return next((sign for sign in text if not "!" <= sign <= "~"), None)


def parse_inchi(text: str) -> Chem.Mol | None:
    """The molecule of an InChI, with or without its 'InChI=', or None if it cannot be read."""
    text = text.strip().strip('"')
    try:
        molecule = Chem.MolFromInchi(text if text.startswith("InChI=") else f"InChI={text}")
    except Exception:  # RDKit raises its own C++ types on some malformed text
        return None
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def canonical_smiles(smiles: str, stereo: bool = False) -> str | None:
    """RDKit-canonical SMILES; stereochemistry is dropped unless `stereo` is set."""
    molecule = parse(smiles)
    if molecule is None:
        return None
    text = Chem.MolToSmiles(molecule, isomericSmiles=stereo)
    # Without isotopes, deuterium is an explicit [H], and unusual bonds change when read: canonicalise twice.
    again = Chem.MolFromSmiles(text) if "[H]" in text or "~" in text else None
    return text if again is None else Chem.MolToSmiles(again, isomericSmiles=stereo)


def inchikey_block1(molecule: Chem.Mol | None) -> str | None:
    """First block of the InChIKey: the skeleton without stereo, isotopes and mobile hydrogens; identity in Trimer."""
    if molecule is None:
        return None
    key = Chem.MolToInchiKey(molecule)
    return key[:14] if key else None


def murcko_scaffold(molecule: Chem.Mol | None) -> str | None:
    """Bemis-Murcko scaffold as SMILES; the empty string without rings, None for a molecule that is too large."""
    if molecule is not None and not molecule.GetRingInfo().NumRings():
        return ""
    if molecule is None or molecule.GetNumAtoms() > LARGEST_SCAFFOLD:
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
    return None if molecule is None else CalcExactMolWt(molecule)
