"""Metrics of ranked candidates on small cases that are calculated by hand."""

from __future__ import annotations

import math

import pytest

from trimer.errors import InputError
from trimer.metrics.molecule_metrics import (
    FormulaMatch,
    PrecursorPpmError,
    TanimotoAtK,
    TopKAccuracy,
    Uniqueness,
    Validity,
)
from trimer.metrics.molecule_properties import molecule_facts, tanimoto

ETHANOL, ETHER, PROPANOL = "CCO", "COC", "CCCO"


def test_top_k_accuracy_counts_the_rank_of_the_true_molecule():
    metric = TopKAccuracy(k=[1, 2, 3])
    metric.update([[ETHANOL, ETHER], [ETHER, "OCC"], ["C1CC", ETHER, ETHANOL], []], [ETHANOL] * 4)
    assert metric.compute() == {"top1_accuracy": 0.25, "top2_accuracy": 0.5, "top3_accuracy": 0.75}


def test_an_invalid_candidate_keeps_its_rank():
    metric = TopKAccuracy(k=[1])
    metric.update([["C1CC", ETHANOL]], [ETHANOL])
    assert metric.compute()["top1_accuracy"] == 0


def test_the_three_definitions_of_the_same_molecule_disagree_on_tautomers_and_homologues():
    keto, enol = "O=c1cccc[nH]1", "Oc1ccccn1"
    homologues = "C" * 20, "C" * 21
    values = {}
    for definition in ("inchikey", "smiles", "fingerprint"):
        metric = TopKAccuracy(k=[1], definition=definition)
        metric.update([[enol], [homologues[0]]], [keto, homologues[1]])
        values |= metric.compute()
    assert values == {"top1_accuracy": 0.5, "top1_same_smiles": 0.0, "top1_same_fingerprint": 0.5}


def test_tanimoto_at_k_is_the_best_of_the_first_k_and_zero_without_candidates():
    metric = TanimotoAtK(k=[1, 2])
    metric.update([[ETHER, PROPANOL], []], [ETHANOL, ETHANOL])
    first = tanimoto(molecule_facts(ETHER), molecule_facts(ETHANOL))
    second = tanimoto(molecule_facts(PROPANOL), molecule_facts(ETHANOL))
    assert second > first
    assert metric.compute() == pytest.approx({"tanimoto@1": first / 2, "tanimoto@2": second / 2}, abs=1e-6)


def test_validity_and_uniqueness_are_computed_from_generation_counts():
    validity, uniqueness = Validity(), Uniqueness()
    for metric in (validity, uniqueness):
        metric.update([[ETHANOL, ETHER], []], [ETHANOL] * 2, generated=[10, 10], valid=[8, 0], distinct=[2, 0])
    assert validity.compute() == pytest.approx({"validity": 0.4})
    assert uniqueness.compute() == pytest.approx({"uniqueness": 0.25})  # the spectrum without a molecule does not count


def test_validity_and_uniqueness_are_computed_from_candidates():
    candidates = [[ETHANOL, "OCC", "C1CC", ETHER]]
    validity, uniqueness = Validity(), Uniqueness()
    validity.update(candidates, [ETHANOL])
    uniqueness.update(candidates, [ETHANOL])
    assert validity.compute() == pytest.approx({"validity": 0.75})
    assert uniqueness.compute() == pytest.approx({"uniqueness": 2 / 3})


def test_formula_match_counts_isomers():
    metric = FormulaMatch(k=[1, 2])
    metric.update([[ETHER], [PROPANOL, ETHER], ["C1CC"]], [ETHANOL] * 3)
    assert metric.compute() == pytest.approx({"formula_match@1": 1 / 3, "formula_match@2": 2 / 3})


def test_precursor_error_ignores_missing_candidates_adducts_and_precursors():
    metric = PrecursorPpmError(within=10)
    mz = 47.04914  # [M+H]+ of ethanol
    metric.update(
        [[ETHER], [PROPANOL], [], [ETHER], [ETHER]],
        [ETHANOL] * 5,
        adducts=["[M+H]+", "[M+H]+", "[M+H]+", "[M+Xx]+", "[M+H]+"],
        precursor_mz=[mz, mz, mz, mz, math.nan],
    )
    values = metric.compute()
    assert values["precursor_within_10ppm@1"] == pytest.approx(1 / 3)
    assert values["precursor_ppm@1"] < 1  # torch's median of two values is the lower one


def test_an_unreadable_true_molecule_raises_an_error_with_its_smiles():
    with pytest.raises(InputError, match=r"spectrum 1 of this batch, 'C1CC'"):
        TopKAccuracy().update([[ETHANOL], [ETHANOL]], [ETHANOL, "C1CC"])


def test_columns_of_different_lengths_are_rejected():
    with pytest.raises(ValueError, match="1 valid for the candidates of 2 spectra"):
        Validity().update([[ETHANOL], [ETHANOL]], [ETHANOL, ETHANOL], generated=[1, 1], valid=[1])


def test_a_metric_without_spectra_is_nan():
    assert math.isnan(TanimotoAtK(k=[1]).compute()["tanimoto@1"])
