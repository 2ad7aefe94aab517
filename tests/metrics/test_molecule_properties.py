"""Identity, formula and mass of molecules: which molecules count as the same."""

from __future__ import annotations

import pytest

from trimer.metrics import molecule_properties as facts
from trimer.metrics.molecule_properties import molecule_facts


def test_tautomers_and_stereoisomers_are_the_same_molecule_with_different_smiles():
    keto, enol = molecule_facts("O=c1cccc[nH]1"), molecule_facts("Oc1ccccn1")
    assert facts.same_molecule(keto, enol)
    assert not facts.same_smiles(keto, enol)
    assert facts.same_smiles(molecule_facts("C[C@H](N)C(=O)O"), molecule_facts("C[C@@H](N)C(O)=O"))


def test_the_heavy_atom_shortcut_never_hides_an_inchikey_match():
    acid, anion = molecule_facts("CC(=O)O"), molecule_facts("CC(=O)[O-]")
    assert acid.formula != anion.formula
    assert acid.heavy_formula == anion.heavy_formula == "C2O2"
    assert facts.same_molecule(acid, anion)  # the charge is in another block of the InChIKey
    deuterated = molecule_facts("[2H]C([2H])([2H])O")
    assert facts.same_molecule(deuterated, molecule_facts("CO"))


@pytest.mark.parametrize(
    ("smiles", "heavy"), [("[He]", "He"), ("C[Hg]C", "C2Hg"), ("OS(O)(=O)=O", "O4S"), ("[NH4+]", "N"), ("[H][H]", "")]
)
def test_heavy_formula_omits_only_hydrogen_and_charge(smiles, heavy):
    assert molecule_facts(smiles).heavy_formula == heavy


def test_isomers_share_a_formula_and_are_different_molecules():
    ethanol, ether = molecule_facts("CCO"), molecule_facts("COC")
    assert facts.same_formula(ethanol, ether)
    assert not facts.same_molecule(ethanol, ether)
    assert 0 <= facts.tanimoto(ethanol, ether) < 1
    assert facts.tanimoto(ethanol, ethanol) == 1


@pytest.mark.parametrize("text", [None, "", "C1CC", "not a molecule", "C(C)(C)(C)(C)C"])
def test_invalid_molecules_are_none_and_equal_nothing(text):
    assert molecule_facts(text) is None
    ethanol = molecule_facts("CCO")
    assert not facts.same_molecule(None, None)
    assert not facts.same_formula(None, ethanol)
    assert facts.tanimoto(None, ethanol) == 0
    assert facts.precursor_ppm(None, 47.05, "[M+H]+") is None


def test_precursor_error_of_caffeine_and_of_a_cation():
    caffeine = molecule_facts("Cn1c(=O)c2c(ncn2C)n(C)c1=O")
    assert facts.precursor_ppm(caffeine, 195.08765, "[M+H]+") == pytest.approx(0, abs=0.1)
    assert facts.precursor_ppm(caffeine, 217.0696, "M+Na") == pytest.approx(0, abs=0.2)
    assert facts.precursor_ppm(caffeine, 195.08765 * (1 + 20e-6), "[M+H]+") == pytest.approx(-20, abs=0.1)
    choline = molecule_facts("C[N+](C)(C)CCO")
    assert facts.precursor_ppm(choline, 104.1070, "[M]+") == pytest.approx(0, abs=1)
    assert facts.precursor_ppm(caffeine, None, "[M+H]+") is None
    assert facts.precursor_ppm(caffeine, float("nan"), "[M+H]+") is None
    assert facts.precursor_ppm(caffeine, 195.08765, "[M+Xx]+") is None
