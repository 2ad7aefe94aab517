"""The properties by which molecules are compared: key, formula, mass and fingerprint, computed once per SMILES.

Two molecules are the same when block 1 of their InChIKeys is the same: no stereo, no isotopes, mobile hydrogens free.
The InChIKey costs more than everything else together and is needed only if the heavy atoms agree, so it is computed
late. Does not import torch, so that reports can use it too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity, ExplicitBitVect, TanimotoSimilarity

from trimer.chemistry import identifiers as chemistry
from trimer.chemistry.molecule_definition import CHARGED, UNREADABLE, charges_of, ion_mz, structure_flaw

RADIUS, BITS = 2, 2048  # the Morgan fingerprint of MassSpecGym (Bushuiev et al., NeurIPS 2024)
_HYDROGEN = re.compile(r"H(?![a-z])\d*|[+-]\d*$")
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


@dataclass(frozen=True, eq=False)
class MoleculeFacts:
    """The facts of one molecule: canonical SMILES (no stereo), formula, monoisotopic mass in Da, charge, fingerprint.

    heavy_formula: the formula without hydrogens and charge, which agrees wherever the InChIKey does. structure_flaw:
    why it is not a molecule by `trimer.chemistry.molecule_definition`, whatever the adduct.
    """

    smiles: str
    canonical: str
    formula: str
    heavy_formula: str
    mass: float
    charge: int
    fingerprint: ExplicitBitVect = field(repr=False)
    structure_flaw: str | None = None

    @functools.cached_property
    def inchikey1(self) -> str | None:
        return chemistry.inchikey_block1(chemistry.parse(self.smiles))


@functools.lru_cache(maxsize=100_000)
def molecule_facts(smiles: str | None) -> MoleculeFacts | None:
    """The facts of a SMILES, or None when it cannot be read."""
    molecule = chemistry.parse(smiles)
    formula, mass = chemistry.formula(molecule), chemistry.exact_mass(molecule)
    if smiles is None or molecule is None or formula is None or mass is None:
        return None
    return MoleculeFacts(
        smiles=smiles,
        canonical=Chem.MolToSmiles(molecule, isomericSmiles=False),
        formula=formula,
        heavy_formula=_HYDROGEN.sub("", formula),
        mass=mass,
        charge=Chem.GetFormalCharge(molecule),
        fingerprint=_MORGAN.GetFingerprint(molecule),
        structure_flaw=structure_flaw(molecule),
    )


def fingerprint_of(smiles: str) -> ExplicitBitVect | None:
    """The fingerprint of a SMILES without its other facts, or None if it cannot be read."""
    molecule = chemistry.parse(smiles)
    return None if molecule is None else _MORGAN.GetFingerprint(molecule)


def flaw(smiles: str | None, adduct: str | None = None) -> str | None:
    """Why a SMILES is not a molecule that could be measured with the adduct; None where it is one."""
    facts = molecule_facts(smiles)
    if facts is None:
        return UNREADABLE
    return facts.structure_flaw or (None if facts.charge in charges_of(adduct) else CHARGED)


def candidate_facts(smiles: str | None, adduct: str | None = None) -> MoleculeFacts | None:
    """The facts of a candidate for a spectrum with this adduct, or None when it is not a molecule."""
    return molecule_facts(smiles) if flaw(smiles, adduct) is None else None


def same_molecule(molecule: MoleculeFacts | None, other: MoleculeFacts | None) -> bool:
    """Whether both have the same InChIKey block 1; False where either is not a molecule."""
    if molecule is None or other is None or molecule.heavy_formula != other.heavy_formula:
        return False
    return molecule.inchikey1 is not None and molecule.inchikey1 == other.inchikey1


def same_formula(molecule: MoleculeFacts | None, other: MoleculeFacts | None) -> bool:
    """Whether both have the same molecular formula, hydrogens and charge included."""
    return molecule is not None and other is not None and molecule.formula == other.formula


def same_smiles(molecule: MoleculeFacts | None, other: MoleculeFacts | None) -> bool:
    """Whether both have the same canonical SMILES; unlike under the InChIKey, tautomers differ."""
    return molecule is not None and other is not None and molecule.canonical == other.canonical


def tanimoto(molecule: MoleculeFacts | None, other: MoleculeFacts | None) -> float:
    """Tanimoto similarity of the Morgan fingerprints (radius 2, 2048 bits); 0 where either is not a molecule."""
    return 0.0 if molecule is None or other is None else TanimotoSimilarity(molecule.fingerprint, other.fingerprint)


def tanimoto_to_many(molecule: MoleculeFacts, others: Sequence[MoleculeFacts]) -> list[float]:
    """Tanimoto similarity of one molecule to each of many."""
    return BulkTanimotoSimilarity(molecule.fingerprint, [other.fingerprint for other in others])


def precursor_ppm(candidate: MoleculeFacts | None, precursor_mz: float | None, adduct: str | None) -> float | None:
    """Signed difference of the candidate's ion to the measured precursor: 1e6 (ion - measured) / measured.

    None where the candidate is not a molecule, or where adduct or precursor m/z are not known.
    """
    if candidate is None or precursor_mz is None or not precursor_mz > 0:
        return None
    mz = ion_mz(candidate.mass, candidate.charge, adduct)
    return None if mz is None else float((mz - precursor_mz) / precursor_mz * 1e6)
