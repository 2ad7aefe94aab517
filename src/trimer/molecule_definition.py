"""What counts as a molecule: one definition for validity, ranking, metrics, pages and the cleaning of training data.

A molecule is a SMILES that RDKit reads and sanitises, and that
- is one component: no salt, no mixture;
- has no wildcard: no atom `*`, no R group, no bond of any order (`~`);
- has no radical: no atom with an unpaired electron;
- is neutral as a whole (zwitterions are), unless the adduct is a bare ion: [M]+ may be measured of a cation of charge
  +1, [M]- of an anion of charge -1.

The true molecule of a labelled spectrum has to be readable only. Labels and embeddings of a user's own structures are
not held to this definition: polymers, R groups and salts can be predicted and embedded.
"""

from __future__ import annotations

from collections.abc import Mapping

from rdkit import Chem

from trimer import chemistry

UNREADABLE, COMPONENTS, WILDCARD, RADICAL, CHARGED = FLAWS = (
    "unreadable",
    "several components",
    "wildcard",
    "radical",
    "net charge",
)


def structure_flaw(molecule: Chem.Mol | None) -> str | None:
    """Why a structure is no molecule whatever its adduct; None where it is one. The charge is judged by `charge_fits`."""
    if molecule is None:
        return UNREADABLE
    if len(Chem.GetMolFrags(molecule)) > 1:
        return COMPONENTS
    atoms, bonds = list(molecule.GetAtoms()), molecule.GetBonds()
    if any(atom.GetAtomicNum() == 0 or atom.HasQuery() for atom in atoms) or any(bond.HasQuery() for bond in bonds):
        return WILDCARD
    return RADICAL if any(atom.GetNumRadicalElectrons() for atom in atoms) else None


def charge_fits(charge: int, adduct: str | None) -> bool:
    """Whether a molecule of this net charge can be measured with the adduct; an unknown adduct needs a neutral one."""
    return charge in (0, own_charge(adduct))


def own_charge(adduct: str | None) -> int:
    """The charge that the molecule itself may bring: that of a bare ion, such as +1 for [M]+; 0 for other adducts."""
    form = _ion_form(adduct)
    if form is None or form.multiplicity != 1:
        return 0
    return form.charge if abs(form.shift + form.charge * chemistry.ELECTRON) < 1e-9 else 0


def ion_mz(mass: float, charge: int, adduct: str | None) -> float | None:
    """m/z of the ion that a molecule gives with an adduct; None where the adduct is not known.

    mass: monoisotopic, in Da; a charged molecule lacks its electrons already, so as a bare ion it is only divided.
    """
    form = _ion_form(adduct)
    if form is None:
        return None
    return mass / abs(charge) if charge and charge == own_charge(adduct) else form.mz(mass)


def in_words(flaws: Mapping[str, int]) -> str:
    """Counted flaws as a text: `12 unreadable, 3 radical`, the most frequent first."""
    return ", ".join(f"{count:,} {flaw}" for flaw, count in sorted(flaws.items(), key=lambda item: (-item[1], item[0])))


def _ion_form(adduct: str | None) -> chemistry.Adduct | None:
    """The only look-up of adducts here and in what builds on this module."""
    return chemistry.ADDUCTS.get(chemistry.harmonise_adduct(adduct))
