"""Trust columns of candidates, and the reliability of the first candidates of evaluated spectra."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trimer.checkpoint import Loaded
from trimer.evaluation.candidate_trust import COLUMNS, CandidateTrust, reliability_metrics
from trimer.generation.candidates import Candidate
from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
from trimer.training_molecules import training_molecules


def test_a_checkpoint_without_records_has_empty_columns_with_reasons():
    generated = GeneratedMolecules([Candidate("CCO", "C2H6O", 46.04, 1.0, 3, -2.0, 1.0)], 4, 3)
    old = Loaded(torch.nn.Linear(1, 1), None, {}, Path("x.ckpt"))
    trust = CandidateTrust(old, MoleculeGenerator())
    assert trust.columns(generated) == {1: dict.fromkeys(COLUMNS)}
    assert list(trust.empty) == ["similarity_to_training", "p_molecule and p_formula"]
    old.training_molecules = training_molecules(["OCC"])
    assert CandidateTrust(old, MoleculeGenerator()).columns(generated, [1])[1]["similarity_to_training"] == 1.0
    assert CandidateTrust(old, MoleculeGenerator()).columns(GeneratedMolecules([], 4, 0)) == {}


def test_reliability_counts_first_candidates_with_a_probability():
    def record(p: float | None, right: float) -> dict:
        scores = {"top1_accuracy": right, "formula_match@1": 1.0}
        return {"candidates": [{"p_molecule": p, "p_formula": 0.9}, {"p_molecule": 0.5}], "scores": scores}

    empty = {"candidates": [], "scores": {"top1_accuracy": 0.0, "formula_match@1": 0.0}}
    metrics = reliability_metrics([record(0.8, 1.0), record(0.2, 0.0), record(None, 1.0), empty])
    assert metrics["p_molecule_brier"] == pytest.approx(0.04) and metrics["p_molecule_ece"] == pytest.approx(0.2)
    assert metrics["p_formula_brier"] == pytest.approx(0.01)
    assert reliability_metrics([empty]) == {}
