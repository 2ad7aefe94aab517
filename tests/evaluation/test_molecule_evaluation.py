"""The prediction file of an evaluation of spectra."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow.parquet as pq

from trimer.evaluation.molecule_evaluation import write_predictions
from trimer.generation.candidates import Candidate


def test_candidates_have_formula_mass_and_error_and_every_spectrum_has_a_row(tmp_path):
    head = {"id": "a", "precursor_mz": 47.0491, "adduct": "[M+H]+", "smiles": "CCO"}
    candidate = Candidate("COC", "C2H6O", 46.0418648, 0.9, 3, -2.0, 0.5)
    trust = {"p_molecule": 0.3, "p_formula": 0.6}
    records = [{**head, "candidates": []}, {**head, "id": "b", "candidates": [asdict(candidate) | trust]}]
    write_predictions(tmp_path / "predictions.parquet", records)
    nothing, row = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert nothing["id"] == "a" and nothing["smiles"] is None and nothing["count"] == 0 and nothing["score"] is None
    assert row == {
        "id": "b", "precursor_mz": 47.0491, "adduct": "[M+H]+", "true_smiles": "CCO", "rank": 1, "smiles": "COC",
        "formula": "C2H6O", "neutral_mass": 46.0418648, "ppm_error": 0.9, "count": 3, "log_likelihood": -2.0,
        "score": 0.5, "p_molecule": 0.3, "p_formula": 0.6, "similarity_to_training": None,
    }  # fmt: skip
