"""Formulas of a mass contain the true one, and only formulas that a molecule may have."""

import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt, CalcMolFormula

from trimer.chemistry.formula_candidates import LARGEST_MASS, formulas_of_mass
from trimer.tokenizers.formula import element_counts

MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O",
    "CCOP(=S)(OCC)Oc1nc(Cl)c(Cl)cc1Cl", "FC(F)(F)c1ccccc1Br", "C[Si](C)(C)O[Si](C)(C)C", "NC(CS)C(=O)O", "C",
    "C[N+](C)(C)CC([O-])=O", "IC1=CC=CC=C1", "CCCCCCCCCCCCCCCCCCCC", "O=S(=O)(O)c1ccc(N)cc1",
]  # fmt: skip


@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_true_formula_is_among_the_candidates(smiles):
    molecule = Chem.MolFromSmiles(smiles)
    mass = CalcExactMolWt(molecule)
    formulas = formulas_of_mass(mass, 10e-6 * mass)
    assert element_counts(CalcMolFormula(molecule)) in formulas
    masses = [
        sum(Chem.GetPeriodicTable().GetMostCommonIsotopeMass(name) * n for name, n in atoms.items())
        for atoms in formulas
    ]
    assert all(abs(value - mass) <= 10.5e-6 * mass for value in masses)
    assert len({tuple(sorted(atoms.items())) for atoms in formulas}) == len(formulas)


def test_impossible_formulas_are_left_out():
    methane = 16.0313001284
    assert formulas_of_mass(methane, 0.001) == [{"C": 1, "H": 4}]
    assert formulas_of_mass(methane + 1.00782503207, 0.001) == []  # CH5: half a ring too few
    assert (
        formulas_of_mass(0.0, 0.1) == formulas_of_mass(LARGEST_MASS + 1, 1.0) == formulas_of_mass(float("nan"), 1) == []
    )
    assert all("C" in atoms for atoms in formulas_of_mass(62.0368, 0.02))


def test_the_limit_keeps_formulas_of_common_elements():
    every, some = formulas_of_mass(612.152, 0.006, 5000), formulas_of_mass(612.152, 0.006, 20)
    assert len(every) > 100 and some == every[:20]
    rare = [sum(n for name, n in atoms.items() if name not in ("C", "H", "N", "O")) for atoms in every]
    assert rare == sorted(rare)
