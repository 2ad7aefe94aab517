"""Baselines on tables small enough to know the result, and on simulated edge cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trimer.baselines.spectrum_baselines import (
    BASELINES,
    cosine_lookup,
    nearest_precursor,
    random_molecule,
    tanimoto_oracle,
)
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import InputError

MASSBANK = Path(__file__).parents[3] / "shared" / "data" / "spectra" / "massbank_pos.mgf"


def table(spectra: list[tuple[str | None, float, list[tuple[float, float]]]]) -> SpectrumTable:
    """Spectra as (SMILES, precursor m/z, peaks)."""
    peaks = [peak for _, _, spectrum_peaks in spectra for peak in spectrum_peaks]
    offsets = np.concatenate([[0], np.cumsum([len(spectrum_peaks) for _, _, spectrum_peaks in spectra])])
    columns = {
        "id": [f"s{i}" for i in range(len(spectra))],
        "smiles": [smiles for smiles, _, _ in spectra],
        "precursor_mz": [mz for _, mz, _ in spectra],
    }
    return SpectrumTable.build([m for m, _ in peaks], [i for _, i in peaks], offsets, columns)


TRAIN = table(
    [
        ("CCO", 47.0, [(29.0, 100), (31.0, 50)]),
        ("OCC", 47.1, [(29.0, 100), (45.0, 10)]),  # the same molecule, another SMILES
        ("CCCCO", 75.0, [(41.0, 100), (57.0, 80)]),
        ("c1ccccc1O", 95.0, [(77.0, 100), (95.0, 30)]),
        ("Cc1ccccc1", 93.0, [(91.0, 100), (65.0, 30)]),
    ]
)


def test_nearest_precursor_ranks_molecules_not_spectra():
    test = table([("C", 47.04, []), ("C", 94.1, []), ("C", np.nan, [])])
    ranked = nearest_precursor(TRAIN, test, k=3)
    assert ranked == [["CCO", "CCCCO", "Cc1ccccc1"], ["c1ccccc1O", "Cc1ccccc1", "CCCCO"], []]


def test_nearest_precursor_agrees_with_sorting_everything():
    random = np.random.default_rng(0)
    smiles = ["C" * n for n in range(1, 31)]
    mz = np.round(random.uniform(100, 102, 600), 2)  # dense, with many ties and many spectra of each molecule
    train = table([(smiles[i % 30], float(m), []) for i, m in enumerate(mz)])
    test = table([("C", float(m), []) for m in random.uniform(99, 103, 50)])
    for row, found in enumerate(nearest_precursor(train, test, k=7)):
        distance = np.abs(mz - test["precursor_mz"][row])
        best = np.array([distance[i::30].min() for i in range(30)])
        expected = [smiles[i] for i in np.lexsort((np.arange(30), best))[:7]]
        assert found == expected


def test_cosine_lookup_finds_the_shared_peaks_and_then_the_nearest_mass():
    test = table([("C", 95.0, [(77.005, 90), (95.005, 40)]), ("C", 76.0, [(300.0, 1)]), ("C", np.nan, [])])
    ranked = cosine_lookup(TRAIN, test, k=2)
    assert ranked[0] == ["c1ccccc1O", "Cc1ccccc1"]
    assert ranked[1] == ["CCCCO", "Cc1ccccc1"]  # no peak in common with any spectrum
    assert ranked[2] == []


def test_cosine_lookup_agrees_with_the_explicit_formula(monkeypatch):
    random = np.random.default_rng(1)
    spectra = []
    for i in range(60):
        peaks = sorted((float(m), float(random.uniform(1, 100))) for m in random.choice(np.arange(50.01, 90, 1.0), 12))
        spectra.append(("C" * (i % 20 + 1), 100.0 + i, peaks))
    train, test = table(spectra[:40]), table(spectra[40:])
    monkeypatch.setattr("trimer.baselines.spectrum_baselines.CHUNK_CELLS", 100)  # several chunks
    for row, found in enumerate(cosine_lookup(train, test, k=5)):
        best: dict[str, float] = {}
        for other in range(40):
            score = cosine(test, row, train, other)
            best[train["smiles"][other]] = max(score, best.get(train["smiles"][other], 0))
        assert found == sorted(best, key=lambda smiles: -best[smiles])[:5]


def cosine(one: SpectrumTable, i: int, other: SpectrumTable, j: int) -> float:
    vectors = []
    for spectra, row in ((one, i), (other, j)):
        vector = np.zeros(6000)
        mz, intensity = spectra.peaks(row)
        np.add.at(vector, (mz / 0.02).astype(int), np.sqrt(intensity))
        vectors.append(vector / np.linalg.norm(vector))
    return float(vectors[0] @ vectors[1])


def test_the_oracle_is_the_best_of_the_training_set():
    test = table([("CCCO", 60.0, []), ("Oc1ccccc1", 95.0, [])])
    ranked = tanimoto_oracle(TRAIN, test, k=2)
    assert ranked[0][0] == "CCCCO"
    assert ranked[1][0] == "c1ccccc1O"


def test_random_molecules_are_different_and_follow_the_seed():
    test = table([("C", 60.0, [])] * 5)
    ranked = random_molecule(TRAIN, test, k=10, seed=3)
    assert all(sorted(row) == sorted(["CCO", "CCCCO", "c1ccccc1O", "Cc1ccccc1"]) for row in ranked)
    assert ranked == random_molecule(TRAIN, test, k=10, seed=3)
    assert ranked != random_molecule(TRAIN, test, k=10, seed=4)


def test_all_baselines_predict_every_spectrum():
    test = table([("CCCO", 60.0, [(29.0, 1)]), ("CCN", 46.0, [(30.0, 1)])])
    answers = {name: baseline(TRAIN, test, k=3, seed=0) for name, baseline in BASELINES.items()}
    assert list(answers)[-1].startswith("oracle")
    assert {name: [len(row) for row in ranked] for name, ranked in answers.items()} == {
        name: [3, 3] for name in answers
    }


def test_training_spectra_without_a_molecule_are_named():
    with pytest.raises(InputError, match="training spectrum s1 has no molecule"):
        random_molecule(table([("CCO", 47.0, []), (None, 50.0, [])]), TRAIN)
    with pytest.raises(InputError, match="no training spectra"):
        random_molecule(TRAIN.take(np.zeros(0, int)), TRAIN)


@pytest.mark.skipif(not MASSBANK.exists(), reason="needs the MassBank file")
def test_baseline_scores_on_the_massbank_split():
    """Tanimoto@1 and @10 of the test fold, measured independently: nearest 0.130 / 0.196, cosine 0.201 / 0.305."""
    from trimer.data.spectra.readers import read_spectra
    from trimer.metrics.candidate_metrics import MoleculeRanking

    spectra = read_spectra(MASSBANK)
    spectra = spectra.with_columns(inchikey1=np.array([key[:14] for key in spectra["inchikey"]], dtype=object))
    train, test = spectra.take(spectra["fold"] == "train"), spectra.take(spectra["fold"] == "test")
    for baseline, first, tenth in ((nearest_precursor, 0.130, 0.196), (cosine_lookup, 0.201, 0.305)):
        metric = MoleculeRanking(k=[1, 10])
        metric.update(baseline(train, test), list(test["smiles"]))
        values = metric.compute()
        assert values["tanimoto@1"] == pytest.approx(first, abs=0.003)
        assert values["tanimoto@10"] == pytest.approx(tenth, abs=0.001)
        assert values["top10_accuracy"] == 0
