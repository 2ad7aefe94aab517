"""The definition of a molecule: what it accepts, how it names the rest, and the ion of a molecule."""

from __future__ import annotations

import pytest

from trimer.chemistry.molecule_definition import charges_of, in_words, ion_mz
from trimer.metrics.molecule_metrics import TanimotoAtK, TopKAccuracy, Validity
from trimer.metrics.molecule_properties import candidate_facts, flaw, molecule_facts, precursor_ppm

ELECTRON = 0.00054857990907


@pytest.mark.parametrize(
    "smiles",
    [
        "CCO",
        "C[N+](=O)[O-]",  # charges that sum to zero
        "C[N+](C)(C)CC(=O)[O-]",  # betaine, a zwitterion
        "[C-]#[O+]",
        "C[Hg]C",
        "N->[Cu]",  # a dative bond
        "[2H]C([2H])[2H]",
        "O=S(=O)(O)O",
    ],
)
def test_neutral_single_structures_are_molecules(smiles):
    assert flaw(smiles, "[M+H]+") is None and candidate_facts(smiles, "[M+H]+") is molecule_facts(smiles)


@pytest.mark.parametrize(
    ("smiles", "name"),
    [
        ("C1CC", "unreadable"), ("", "unreadable"), (None, "unreadable"), ("C(C)(C)(C)(C)C", "unreadable"),
        ("*N", "wildcard"), ("C[*:1]", "wildcard"), ("*", "wildcard"), ("C~C", "wildcard"),
        ("[CH3]", "radical"), ("[O]", "radical"), ("CC[O]", "radical"), ("[N]=O", "radical"), ("[Na]", "radical"),
        ("[Na+]", "net charge"), ("[Cl-]", "net charge"), ("[H+]", "net charge"), ("CC(=O)[O-]", "net charge"),
        ("C[N+](C)(C)C", "net charge"),
        ("CC(=O)[O-].[Na+]", "several components"), ("CCO.O", "several components"), ("*.C", "several components"),
    ],
)  # fmt: skip
def test_invalid_molecules_are_classified_by_their_flaw(smiles, name):
    assert flaw(smiles, "[M+H]+") == flaw(smiles) == name
    assert candidate_facts(smiles, "[M+H]+") is None


@pytest.mark.parametrize(
    ("smiles", "adduct", "good"),
    [
        ("C[N+](C)(C)C", "[M]+", True),
        ("C[N+](C)(C)C", "[M+Na]+", False),
        ("C[N+](C)(C)C", "[M]-", False),
        ("C[N+](C)(C)CC[N+](C)(C)C", "[M]+", False),  # charge +2
        ("CC(=O)[O-]", "[M]-", True),
        ("CC(=O)[O-]", "[M-H]-", False),
        ("c1ccccc1", "[M]+", True),  # loses an electron
        ("CCO", "no adduct", True),
        ("C[N+](C)(C)C", "[Cat]+", True),
        ("CCO", "[Cat]+", False),
    ],
)
def test_a_charged_molecule_is_allowed_with_a_bare_ion_adduct(smiles, adduct, good):
    assert (flaw(smiles, adduct) is None) is good


def test_the_adduct_determines_the_allowed_charges():
    adducts = ("[M]+", "[M]-", "[Cat]+", "[M+H]+", "[M-2H]2-", "nonsense", None)
    assert [charges_of(adduct) for adduct in adducts] == [(0, 1), (0, -1), (1,), (0,), (0,), (0,), (0,)]


def test_a_cation_is_its_molecular_ion_and_a_neutral_molecule_loses_an_electron():
    choline = molecule_facts("C[N+](C)(C)CCO")
    mass = 5 * 12 + 14 * 1.00782503207 + 14.0030740048 + 15.99491461956 - ELECTRON
    assert ion_mz(choline.mass, choline.charge, "[M]+") == pytest.approx(mass, abs=1e-6)
    assert precursor_ppm(choline, mass, "[M]+") == pytest.approx(0, abs=0.01)
    benzene = molecule_facts("c1ccccc1")
    assert ion_mz(benzene.mass, 0, "[M]+") == pytest.approx(6 * 12 + 6 * 1.00782503207 - ELECTRON, abs=1e-6)


def test_metrics_count_only_molecules():
    candidates, adducts = [["*N", "[CH3]", "C[N+](C)(C)C", "CCO"]] * 2, ["[M+H]+", "[M]+"]
    validity, accuracy, similarity = Validity(), TopKAccuracy(k=[1, 4]), TanimotoAtK(k=[3])
    for metric in (validity, accuracy, similarity):
        metric.update(candidates, ["CCO", "C[N+](C)(C)C"], adducts=adducts)
    assert validity.compute() == {"validity": pytest.approx((1 / 4 + 2 / 4) / 2)}
    assert accuracy.compute() == {"top1_accuracy": 0.0, "top4_accuracy": 1.0}
    assert similarity.compute() == {"tanimoto@3": 0.5}


def test_the_most_frequent_flaws_are_reported_first():
    assert in_words({"radical": 2, "wildcard": 1200, "unreadable": 2}) == "1,200 wildcard, 2 radical, 2 unreadable"
