"""The model minus each baseline, paired by the resamples of molecules, computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.molecule_evaluation import compared_metrics
from trimer.metrics.candidate_metrics import MoleculeRanking
from trimer.metrics.fragment_metrics import measured_spectra
from trimer.reporting.table import ResultTable

SPECTRA = 4  # of each molecule
TARGETS = ["CCO"] * SPECTRA + ["CCCO"] * SPECTRA


def ranking(candidates: list[str]) -> MoleculeRanking:
    """The metrics of a first candidate for each spectrum of two molecules."""
    ranking = MoleculeRanking(k=[1], bootstrap=4000, sync_on_compute=False)
    ranking.update([[smiles] for smiles in candidates], TARGETS)
    return ranking


def test_the_error_is_that_of_the_difference_between_molecules_not_spectra():
    """The model is right for one of two molecules, the look-up for none.

    A resample of two molecules has a difference of 0, 1/2 or 1 with probability 1/4, 1/2 and 1/4: the standard
    deviation is sqrt(1/8). Spectra as units would halve it.
    """
    measured = {
        "look-up": ranking(["c1ccccc1"] * 2 * SPECTRA).measured(),
        "model": ranking(["CCO"] * 2 * SPECTRA).measured(),
    }
    table = ResultTable(k=[1])
    add_methods(table, "model", measured)
    values, own = (row["values"] for row in table.rows)
    assert values["top1_accuracy_difference"] == pytest.approx(0.5)
    assert values["top1_accuracy_difference_std_error"] == pytest.approx(math.sqrt(1 / 8), rel=0.05)
    low, high = (values[f"top1_accuracy_difference_ci95_{end}"] for end in ("low", "high"))
    assert (low, high) == (0, 1) and values["top1_accuracy_difference_p"] == pytest.approx(0.5, abs=0.05)
    assert not [name for name in own if "_difference" in name], "the model is not compared with itself"


def test_errors_that_both_methods_make_cancel():
    """Spectra of 0.1 to 0.9; the model is better by 0.02 or 0.04, so the error is 0.01 / sqrt(100)."""
    hard = np.linspace(0.1, 0.9, 100)
    better = hard + np.where(np.arange(100) % 2, 0.02, 0.04)
    measured = {name: measured_spectra({"cos": scores}, 2000) for name, scores in (("mean", hard), ("model", better))}
    table = ResultTable()
    add_methods(table, "model", measured)
    values = table.rows[0]["values"]
    assert values["cos_mean_difference"] == pytest.approx(0.03)
    assert values["cos_mean_difference_std_error"] == pytest.approx(0.001, rel=0.1)
    assert values["cos_mean_std_error"] > 20 * values["cos_mean_difference_std_error"]


def test_a_look_up_is_compared_in_exact_hits_only_where_it_can_have_the_molecule():
    measured = ranking(["CCO"] * 2 * SPECTRA).measured()
    shared, apart = (compared_metrics(measured, shared=shared) for shared in (True, False))
    assert {"top1_accuracy", "top1_same_smiles"} <= set(shared) - set(apart)
    assert {"tanimoto@1", "formula_match@1"} <= set(apart)
    assert "validity" not in shared, "a look-up generates no text"
