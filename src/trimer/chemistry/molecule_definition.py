"""What counts as a molecule: one definition for the candidates in validity, ranking, metrics, pages and predictions.

A molecule is a SMILES that RDKit reads and sanitises, and that
- is one component: no salt, no mixture;
- has no wildcard: no atom `*`, no R group, no bond of any order (`~`);
- has no radical: no atom with an unpaired electron;
- is neutral as a whole (zwitterions are), unless the adduct requires a charge (`Adduct.molecule_charges`): [M]+ may be
  a cation of charge +1, [M]- an anion, and [Cat]+ requires a cation.

The true molecule of a labelled spectrum is measured, so it may be a radical (see the cleaning step Structure). Labels
and embeddings of a user's own structures need not meet this definition: polymers, R groups and salts can be predicted
and embedded.
"""

from __future__ import annotations

from collections.abc import Mapping

from rdkit import Chem

from trimer.chemistry.adducts import parse_adduct

UNREADABLE, COMPONENTS, WILDCARD, RADICAL, CHARGED = FLAWS = (
    "unreadable",
    "several components",
    "wildcard",
    "radical",
    "net charge",
)


def structure_flaw(molecule: Chem.Mol | None) -> str | None:
    """Why a structure is not a molecule by this definition, regardless of charge and adduct; None if it is one."""
    if molecule is None:
        return UNREADABLE
    if len(Chem.GetMolFrags(molecule)) > 1:
        return COMPONENTS
    atoms, bonds = list(molecule.GetAtoms()), molecule.GetBonds()
    if any(atom.GetAtomicNum() == 0 or atom.HasQuery() for atom in atoms) or any(bond.HasQuery() for bond in bonds):
        return WILDCARD
    return RADICAL if any(atom.GetNumRadicalElectrons() for atom in atoms) else None


def charges_of(adduct: str | None) -> tuple[int, ...]:
    """The formal charges that a molecule measured with the adduct may have; an unknown adduct needs a neutral one."""
    form = parse_adduct(adduct)
    return (0,) if form is None else form.molecule_charges


def ion_mz(mass: float, charge: int, adduct: str | None) -> float | None:
    """m/z of the ion that a molecule gives with an adduct; None for an unknown adduct.

    mass: monoisotopic, in Da; that of a charged molecule already accounts for its electrons. charge: formal.
    """
    form = parse_adduct(adduct)
    return None if form is None else form.mz(mass, charge)


def in_words(flaws: Mapping[str, int]) -> str:
    """Counts of flaws as text: `12 unreadable, 3 radical`, the most frequent first."""
    return ", ".join(f"{count:,} {flaw}" for flaw, count in sorted(flaws.items(), key=lambda item: (-item[1], item[0])))
