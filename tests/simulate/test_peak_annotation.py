"""Peaks that are explained by fragments of a molecule."""

from __future__ import annotations

import time

import pytest

from trimer.simulate.peak_annotation import explain_peaks, hill

CAFFEINE = "Cn1cnc2c1c(=O)n(C)c(=O)n2C"
GLUCOSE = "OCC1OC(O)C(O)C(O)C1O"


@pytest.mark.parametrize(
    ("smiles", "adduct", "mz", "formula", "broken"),
    [
        (CAFFEINE, "[M+H]+", 195.0877, "C8H11N4O2+", 0),
        (CAFFEINE, "[M+H]+", 138.0662, "C6H8N3O+", 2),  # retro-Diels-Alder, loss of methyl isocyanate
        (CAFFEINE, "[M+H]+", 110.0713, "C5H8N3+", 2),
        ("CC(=O)Oc1ccccc1C(=O)O", "[M-H]-", 137.0244, "C7H5O3-", 1),  # aspirin: salicylate
        ("CC(=O)Oc1ccccc1C(=O)O", "[M-H]-", 59.0139, "C2H3O2-", 1),  # and acetate
        (GLUCOSE, "[M+Na]+", 185.0420, "C6H10NaO5+", 1),  # keeps the sodium
        ("C[N+](C)(C)CCO", "[M]+", 60.0808, "C3H10N+", 1),  # choline: trimethylamine
    ],
)
def test_known_fragments_are_explained(smiles, adduct, mz, formula, broken):
    (found,) = explain_peaks(smiles, [mz], adduct, 10)
    assert (found.formula, found.broken) == (formula, broken)
    assert abs(found.ppm) < 2 and found.ppm == pytest.approx((found.mz - mz) / mz * 1e6)


def test_only_peaks_within_the_tolerance_are_explained():
    exact = explain_peaks(CAFFEINE, [138.0662], "[M+H]+", 10)[0].mz
    away = exact * (1 - 8e-6)
    assert [bool(one) for one in explain_peaks(CAFFEINE, [away, 150.5], "[M+H]+", 10)] == [True, False]
    assert explain_peaks(CAFFEINE, [away], "[M+H]+", 5) == [None]
    assert explain_peaks(CAFFEINE, [away], "[M+H]+", 10)[0].ppm == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize(
    ("smiles", "adduct"),
    [("no molecule", "[M+H]+"), (None, "[M+H]+"), (CAFFEINE, None), (CAFFEINE, "?"), ("C" * 300, "[M+H]+")],
)
def test_unknown_adducts_and_unreadable_or_huge_molecules_explain_nothing(smiles, adduct):
    assert explain_peaks(smiles, [138.0662, 195.0877], adduct, 10) == [None, None]


def test_no_ion_has_fewer_than_zero_hydrogens():
    for mz in (24.0, 12.0, 36.0, 23.9925):
        (found,) = explain_peaks("ClC(Cl)(Cl)C(Cl)(Cl)Cl", [mz], "[M-H]-", 2000)
        assert found is None or "H" not in found.formula


def test_formulas_are_in_hill_order():
    assert hill({"O": 1, "H": 6, "C": 2, "Na": 1, "Cl": 0}) == "C2H6NaO"
    assert hill({"O": 1, "H": 2}) == "H2O"


def test_a_peptide_of_ten_residues_takes_less_than_seconds():
    smiles = "N[C@@H](C)C(=O)" + "NC(Cc1ccccc1)C(=O)" * 9 + "O"
    start = time.perf_counter()
    assert len(explain_peaks(smiles, [100.0] * 200, "[M+H]+", 10)) == 200
    assert time.perf_counter() - start < 20
