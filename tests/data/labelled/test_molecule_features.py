"""Features of molecules: computed once for each SMILES, bounded, with undefined descriptors."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from trimer.data.labelled import molecule_features
from trimer.data.labelled.molecule_features import (
    bits,
    counts,
    descriptors,
    keys,
    listed,
    matrix,
    statistics,
    width,
)
from trimer.errors import ConfigError, InputError
from trimer.metrics.molecule_properties import BITS, RADIUS

TEXTS = ["CCO", "c1ccccc1CCCCCCCC(=O)O", "[Na+].[Cl-]", "[Fe]"]


def test_bits_and_counts_are_those_of_rdkit():
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    molecules = [Chem.MolFromSmiles(text) for text in TEXTS]
    assert (bits(TEXTS) == [generator.GetFingerprintAsNumPy(molecule) for molecule in molecules]).all()
    assert (counts(TEXTS).toarray() == [generator.GetCountFingerprintAsNumPy(molecule) for molecule in molecules]).all()


def test_descriptors_are_bounded_and_undefined_ones_are_nan(monkeypatch):
    def division(molecule) -> float:
        return 1 / (molecule.GetNumAtoms() - 5)

    chosen = {"undefined": division, "infinite": lambda molecule: np.inf, "large": lambda molecule: -1e30}
    monkeypatch.setattr(molecule_features, "FUNCTIONS", molecule_features.FUNCTIONS | chosen)
    monkeypatch.setattr(molecule_features, "DESCRIPTORS", ("MolWt", *chosen))
    found = descriptors(["CCCCN", "CCCCCN"])
    assert found.dtype == np.float32
    expected = [[73.139, np.nan, np.nan, -1e6], [87.166, 1, np.nan, -1e6]]
    assert found == pytest.approx(np.array(expected), abs=1e-3, nan_ok=True)


def test_the_chosen_descriptors_are_finite_for_molecules():
    found = descriptors(TEXTS[:2])
    assert found.shape == (2, len(molecule_features.DESCRIPTORS)) and np.isfinite(found).all()


def test_the_features_of_a_molecule_are_computed_once(monkeypatch):
    texts = ["CCOCC", "CCNCC"]
    first = [np.asarray(of(texts)) for of in (bits, keys, descriptors)]
    monkeypatch.setattr(molecule_features, "FUNCTIONS", {})
    monkeypatch.setattr(molecule_features, "_MORGAN", None)
    again = [np.asarray(of([*texts, texts[0]])) for of in (bits, keys, descriptors)]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other[:2], equal_nan=True) and np.array_equal(one[0], other[2], equal_nan=True)


def test_no_molecules_have_no_features():
    assert [of([]).shape for of in (bits, counts)] == [(0, BITS)] * 2
    assert keys([]).shape == (0, 167) and descriptors([]).shape[0] == 0


def test_an_invalid_molecule_is_named():
    with pytest.raises(InputError, match="row 1: 'C1CC' cannot be read as SMILES"):
        keys(["CCO", "C1CC"])


def test_the_matrix_has_the_listed_features_in_their_order():
    names = listed(["MolWt", "counts", "TPSA", "keys"])
    found = matrix(TEXTS, names)
    assert found.shape == (4, width(names)) == (4, 1 + BITS + 1 + 167) and found.dtype == np.float32
    expected = [descriptors(TEXTS, ["MolWt"]), counts(TEXTS).toarray(), descriptors(TEXTS, ["TPSA"]), keys(TEXTS)]
    assert np.array_equal(found, np.hstack(expected), equal_nan=True)
    assert listed(["descriptors"]) == list(molecule_features.DESCRIPTORS)
    assert matrix([], names).shape == (0, width(names)) and matrix(TEXTS, []).shape == (4, 0)
    with pytest.raises(ConfigError, match="'Weight' is unknown; use counts, keys, descriptors"):
        listed(["Weight"])
    with pytest.raises(ConfigError, match="'MolWt' twice"):
        listed(["descriptors", "MolWt"])


def test_statistics_leave_out_undefined_values_and_constants(monkeypatch):
    def oxygens(molecule) -> float:
        count = sum(atom.GetSymbol() == "O" for atom in molecule.GetAtoms())
        return float("nan") if count > 2 else count

    chosen = {"oxygens": oxygens, "constant": lambda molecule: 7.3}
    monkeypatch.setattr(molecule_features, "FUNCTIONS", molecule_features.FUNCTIONS | chosen)
    monkeypatch.setattr(molecule_features, "CHUNK", 2)
    mean, deviation = statistics(["CC", "CCO", "OCCO", "OCC(O)O"], ["oxygens", "constant"])
    assert mean == pytest.approx([1, 7.3]) and deviation == pytest.approx([np.sqrt(2 / 3), 1])
