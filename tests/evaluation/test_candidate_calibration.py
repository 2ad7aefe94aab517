"""Probabilities that candidates are the right molecule or have the right formula."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import CheckpointError
from trimer.evaluation.candidate_calibration import (
    FEATURES,
    RANKS,
    CandidateProbabilities,
    calibrate_candidates,
    candidate_features,
    coherent,
    metrics_of,
    reliability,
    save_report,
)
from trimer.generation.candidates import Candidate
from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
from trimer.metrics.molecule_properties import molecule_facts
from trimer.metrics.packed_fingerprints import PackedLibrary, packed_fingerprints

LIBRARY = PackedLibrary(packed_fingerprints(["CCO"]))
CHAINS = ["C" * length + "O" for length in range(1, 30)]
GENERATOR = MoleculeGenerator(num_samples=20)


def candidate(smiles: str, count: int, ppm: float | None = 1.0, score: float = 0.5) -> Candidate:
    facts = molecule_facts(smiles)
    return Candidate(smiles, facts.formula, facts.mass, ppm, count, -5.0, score)


def generated(*candidates: Candidate, texts: int = 20) -> GeneratedMolecules:
    return GeneratedMolecules(list(candidates), texts, sum(one.count for one in candidates))


def spectra(informative: bool = True, right: float = 0.4, count: int = 240, seed: int = 0):
    """Labelled spectra with two candidates each: a right first candidate was generated more often, if informative."""
    random = np.random.default_rng(seed)
    smiles, results = [], []
    for _ in range(count):
        true = CHAINS[random.integers(3, len(CHAINS))]
        hit = random.random() < right
        texts = int(random.integers(8, 16) if hit and informative else random.integers(1, 9))
        first = candidate(true if hit else "CC(C)" + true[1:], texts)
        results.append(generated(first, candidate("CCCBr", 1, ppm=-900.0)))
        smiles.append(true)
    empty = np.zeros(0)
    table = SpectrumTable.build(empty, empty, np.zeros(count + 1), {"smiles": smiles, "inchikey1": smiles})
    return table, results


def test_features_describe_the_candidates_and_their_formulas():
    result = generated(candidate("CCO", 6), candidate("COC", 4), candidate("CCN", 2, ppm=None), texts=20)
    features = candidate_features(result, LIBRARY)
    columns = dict(zip(FEATURES["molecule"], features.molecule.T, strict=True))
    np.testing.assert_allclose(columns["share"], np.log([6.5 / 14.5, 4.5 / 16.5, 2.5 / 18.5]))
    np.testing.assert_allclose(columns["formula_share"][:2], np.log(10.5 / 10.5))
    assert columns["similarity_to_training"][0] == 1 and columns["agrees"][0] == 1 and np.isnan(columns["agrees"][2])
    assert columns["valid_share"][0] == 0.6 and columns["distinct_share"][0] == 0.25
    assert features.formula_of.tolist() == [0, 0, 1] and features.formula.shape == (2, len(FEATURES["formula"]))
    none = candidate_features(generated(), LIBRARY)
    assert none.molecule.shape == (0, len(FEATURES["molecule"])) and none.formula.shape[0] == 0


def test_probabilities_of_a_spectrum_do_not_contradict_each_other():
    molecule, formula = coherent(np.array([0.9, 0.6, 0.5]), np.array([0.8, 0.7]), np.array([0, 0, 1]))
    assert formula.tolist() == pytest.approx([0.8 / 1.5, 0.8 / 1.5, 0.7 / 1.5])
    assert molecule.sum() <= 1 + 1e-9 and (molecule <= formula + 1e-9).all()
    assert molecule[0] / molecule[1] == pytest.approx(1.5)
    small, same = coherent(np.array([0.1, 0.2]), np.array([0.3, 0.4]), np.array([0, 1]))
    assert small.tolist() == [0.1, 0.2] and same.tolist() == [0.3, 0.4]


def test_probabilities_follow_informative_shares_and_are_calibrated():
    table, results = spectra()
    stored, report = calibrate_candidates(table, results, None, GENERATOR)
    first = report["molecule"]["first_candidates"]
    assert first["candidates"] == 240 and 70 < first["right"] < 130
    assert first["brier"] < 0.7 * first["brier_of_constant"] and first["ece"] < 0.1
    assert sum(row["candidates"] for row in first["bins"]) == 240
    probabilities = CandidateProbabilities(stored, "x.ckpt")
    often = probabilities(generated(candidate("CCCCO", 14), candidate("CCCBr", 1, -900.0)), None)
    rarely = probabilities(generated(candidate("CCCCO", 2), candidate("CCCBr", 1, -900.0)), None)
    assert often[0][0] > 0.7 > 0.3 > rarely[0][0] and often[1][0] < 0.1
    assert all(p_formula >= p_molecule for p_molecule, p_formula in [*often, *rarely])


def test_candidates_without_information_get_the_base_rate():
    table, results = spectra(informative=False, right=0.2)
    _, report = calibrate_candidates(table, results, None, GENERATOR)
    first = report["molecule"]["first_candidates"]
    assert first["brier"] < 1.1 * first["brier_of_constant"] and first["ece"] < 0.15


def test_a_model_that_is_never_right_is_reported_as_such(tmp_path, caplog):
    table, results = spectra(right=0.0)
    stored, report = calibrate_candidates(table, results, LIBRARY, GENERATOR)
    chances = CandidateProbabilities(stored, "x.ckpt")(results[0], LIBRARY)
    assert chances[0][0] == chances[1][0] < 0.01
    assert report["molecule"]["features"] == {} and report["molecule"]["first_candidates"]["right"] == 0
    with caplog.at_level("INFO"):
        save_report(report, tmp_path / "calibration.json")
    assert "p_molecule is the same for all candidates" in caplog.text
    assert json.loads((tmp_path / "calibration.json").read_text())["spectra"] == 240
    assert set(metrics_of(report)) == {f"val/p_{name}" for name in (
        "molecule_ece", "molecule_brier", "formula_ece", "formula_brier",
    )}  # fmt: skip


def test_without_any_candidate_there_is_nothing_to_report(tmp_path, caplog):
    table, _ = spectra(count=10)
    stored, report = calibrate_candidates(table, [generated()] * 10, LIBRARY, GENERATOR)
    assert metrics_of(report) == {} and CandidateProbabilities(stored, "x.ckpt")(generated(), LIBRARY) == []
    save_report(report, tmp_path / "calibration.json")
    assert "p_molecule is not calibrated" in caplog.text


def test_ranks_beyond_the_calibrated_ones_have_no_probability():
    table, results = spectra()
    stored, _ = calibrate_candidates(table, results, LIBRARY, GENERATOR)
    many = generated(*(candidate(smiles, 1) for smiles in CHAINS), texts=40)
    chances = CandidateProbabilities(stored, "x.ckpt")(many, LIBRARY)
    assert len(chances) == len(CHAINS) and None not in chances[RANKS - 1] and chances[RANKS] == (None, None)
    assert sum(p for p, _ in chances[:RANKS]) <= 1 + 1e-9


def test_other_settings_of_the_generator_are_named():
    table, results = spectra(count=40)
    probabilities = CandidateProbabilities(calibrate_candidates(table, results, None, GENERATOR)[0], "x.ckpt")
    assert probabilities.differences(MoleculeGenerator(num_samples=20, seed=7, batch=2)) == []
    assert probabilities.differences(MoleculeGenerator(num_samples=5)) == [
        "generator.num_samples=5 (calibrated with 20)"
    ]
    assert "generator.beams=10 (calibrated with None)" in probabilities.differences(MoleculeGenerator(method="beam"))


def test_a_damaged_calibration_raises_an_error():
    table, results = spectra(count=40)
    stored, _ = calibrate_candidates(table, results, None, GENERATOR)
    for damaged in ([], {}, {**stored, "molecule": {}}, {**stored, "formula": {**stored["formula"], "mean": ["a"]}}):
        with pytest.raises(CheckpointError, match=r"x\.ckpt"):
            CandidateProbabilities(damaged, "x.ckpt")


def test_reliability_counts_each_candidate_once():
    found = reliability([np.array([0.05, 0.95]), np.array([0.85])], [np.array([False, True]), np.array([False])])
    assert [(row["from"], row["candidates"], row["right"]) for row in found["bins"]] == [
        (0.0, 1, 0.0), (0.8, 1, 0.0), (0.9, 1, 1.0),
    ]  # fmt: skip
    assert found["ece"] == pytest.approx((0.05 + 0.85 + 0.05) / 3)
    assert found["brier"] == pytest.approx((0.05**2 + 0.85**2 + 0.05**2) / 3)
