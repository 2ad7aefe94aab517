"""Steps that need the structure: identity of the molecule, and agreement of its mass with the precursor m/z."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from rdkit import Chem

from trimer.chemistry.identifiers import exact_mass, inchikey_block1, murcko_scaffold, parse, parse_inchi
from trimer.chemistry.molecule_definition import (
    CHARGED,
    COMPONENTS,
    UNREADABLE,
    WILDCARD,
    charges_of,
    ion_mz,
    structure_flaw,
)
from trimer.data.spectra.cleaning.step import Cleaned, Step, explain, for_each_distinct
from trimer.data.spectra.spectrum_table import SpectrumTable, filled
from trimer.errors import ConfigError

CLAUSES = {
    UNREADABLE: "the SMILES '{}' cannot be read",
    COMPONENTS: "the structure '{}' has more than one part",
    WILDCARD: "the structure '{}' has a wildcard atom or bond",
    CHARGED: "the structure '{}' is charged, or is not the ion that the adduct names",
}


@dataclass(frozen=True)
class Structure(Step):
    """Keep spectra of a single molecule whose charge fits the adduct, and add its identity.

    `smiles` becomes RDKit-canonical (without stereochemistry unless `stereo`); it is derived from the InChI if there is
    no readable SMILES. `inchikey1` (InChIKey block 1) and `scaffold` (Bemis-Murcko) are added. Salts, wildcards, and
    charges that do not fit the adduct are dropped (`trimer.chemistry.molecule_definition`); radicals, such as
    nitroxides, are kept, so that the folds of published benchmarks stay complete.
    """

    needs_label: ClassVar[bool] = True
    stereo: bool = False

    def reason(self) -> str:
        return "the structure is not one molecule of the measured charge"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        table = fill_smiles(table)
        charges = [charges_of(adduct) for adduct in table["adduct"]]
        structures = np.full(len(table), None, dtype=object)
        for row in np.flatnonzero(filled(table["smiles"])):
            structures[row] = table["smiles"][row], charges[row]
        identities = for_each_distinct(structures, partial(_identity, stereo=self.stereo), slow=True)
        keep = np.array([isinstance(identity, tuple) for identity in identities], bool)
        columns = {name: np.full(len(table), None, dtype=object) for name in ("smiles", "inchikey1", "scaffold")}
        for row in np.flatnonzero(keep):
            for column, value in zip(columns.values(), identities[row], strict=True):
                column[row] = value
        inchi = table["inchi"]
        clauses = [
            identities[row]
            or (f"the InChI '{inchi[row]}' cannot be read" if inchi[row] else "the spectrum has no SMILES and no InChI")
            for row in np.flatnonzero(~keep)
        ]
        return explain(table.with_columns(**columns), keep, clauses), keep


@dataclass(frozen=True)
class MassAgreement(Step):
    """Keep spectra whose precursor m/z agrees with the structure and adduct within a tolerance.

    unit: 'Da' (on the m/z scale) or 'ppm'. Spectra without a structure, known adduct or precursor m/z are dropped.
    """

    needs_label: ClassVar[bool] = True
    tolerance: float = 0.01
    unit: str = "Da"

    def __post_init__(self) -> None:
        if self.unit not in ("Da", "ppm"):
            raise ConfigError(f"cleaning.mass_agreement.unit={self.unit} must be 'Da' or 'ppm'")

    def reason(self) -> str:
        return f"structure, adduct and precursor m/z do not agree within {self.tolerance:g} {self.unit}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        table = fill_smiles(table)
        molecules = for_each_distinct(table["smiles"], _mass_and_charge, slow=True)
        expected = np.array(
            [
                np.nan if molecule is None else ion_mz(molecule[0], molecule[1], adduct)
                for molecule, adduct in zip(molecules, table["adduct"], strict=True)
            ],
            dtype=np.float64,  # None becomes NaN
        )
        scale = expected * 1e-6 if self.unit == "ppm" else 1.0
        difference = np.abs(table["precursor_mz"] - expected)
        keep = difference <= self.tolerance * scale
        clauses = [
            f"the precursor m/z {table['precursor_mz'][row]:.4f} is not the {expected[row]:.4f} of the structure"
            if np.isfinite(difference[row])
            else "structure, adduct or precursor m/z is missing or unknown, so the mass cannot be checked"
            for row in np.flatnonzero(~keep)
        ]
        return explain(table, keep, clauses), keep


def fill_smiles(table: SpectrumTable) -> SpectrumTable:
    """The table with SMILES derived from InChI (also one in the SMILES field) where no SMILES can be read."""
    inchi, smiles = table["inchi"].copy(), table["smiles"].copy()
    for row, text in enumerate(smiles):
        if text and text.startswith("InChI="):
            inchi[row], smiles[row] = inchi[row] or text, None
    nothing = np.full(len(table), None, dtype=object)
    readable = for_each_distinct(np.where(filled(inchi), smiles, nothing), _readable, slow=True)
    used_inchi = np.where(np.equal(readable, True), nothing, inchi)
    if not filled(used_inchi).any():
        return table
    derived = for_each_distinct(used_inchi, _smiles_of_inchi, slow=True)
    return table.with_columns(smiles=np.where(filled(derived), derived, smiles), inchi=inchi)


def _readable(text: str) -> bool:
    return parse(text) is not None


def _smiles_of_inchi(text: str) -> str | None:
    molecule = parse_inchi(text)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def _mass_and_charge(smiles: str) -> tuple[float, int] | None:
    molecule = parse(smiles)
    mass = exact_mass(molecule)
    return None if mass is None else (mass, Chem.GetFormalCharge(molecule))


def _identity(structure: tuple[str, tuple[int, ...]], stereo: bool) -> tuple[str, str, str] | str:
    """Canonical SMILES, InChIKey block 1 and scaffold; or the reason why the structure cannot be used.

    structure: a SMILES, and the charges that the adduct allows for the molecule.
    """
    smiles, charges = structure
    molecule = parse(smiles)
    flaw = structure_flaw(molecule)
    if flaw in CLAUSES:
        return CLAUSES[flaw].format(smiles)
    if Chem.GetFormalCharge(molecule) not in charges:
        return CLAUSES[CHARGED].format(smiles)
    canonical = Chem.MolToSmiles(molecule, isomericSmiles=stereo)
    molecule = parse(canonical)  # identity of the stored SMILES, so that it can be computed again
    block1, scaffold = inchikey_block1(molecule), murcko_scaffold(molecule)
    if block1 is None or scaffold is None:
        return f"the structure '{smiles}' has no InChIKey or scaffold"
    return canonical, block1, scaffold
