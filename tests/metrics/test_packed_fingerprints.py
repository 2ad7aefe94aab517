"""Packed fingerprints give the Tanimoto similarities of RDKit."""

from __future__ import annotations

import numpy as np

from trimer.metrics import packed_fingerprints as module
from trimer.metrics.molecule_properties import molecule_facts, tanimoto
from trimer.metrics.packed_fingerprints import PackedLibrary, packed_fingerprints

LIBRARY = ["CCO", "CCCCCC", "c1ccccc1", "c1ccccc1C(=O)O", "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"]
QUERIES = ["CCCO", "c1ccccc1CC(=O)O", "Cn1cnc2c1c(=O)[nH]c(=O)n2C", "CCO", "C"]


def test_bits_are_those_of_the_fingerprint():
    bits = np.unpackbits(packed_fingerprints(["CCO"]), axis=1, bitorder="little")[0]
    assert np.flatnonzero(bits).tolist() == list(molecule_facts("CCO").fingerprint.GetOnBits())


def test_highest_similarity_equals_that_of_rdkit_for_any_chunk(monkeypatch):
    expected = [max(tanimoto(molecule_facts(query), molecule_facts(text)) for text in LIBRARY) for query in QUERIES]
    for chunk in (1, 2, 1024):
        monkeypatch.setattr(module, "CHUNK", chunk)
        library = PackedLibrary(packed_fingerprints(LIBRARY))
        np.testing.assert_allclose(library.similarities(QUERIES), expected)
    assert expected[3] == 1.0 and 0 < expected[0] < 1


def test_unreadable_molecules_and_an_empty_library_have_no_similarity():
    library = PackedLibrary(packed_fingerprints(["CCO", "not a molecule", "C1CC"]))
    assert len(library) == 1
    assert library.similarity("C1CC") is None and library.similarity("") is None
    assert PackedLibrary(packed_fingerprints([])).similarity("CCO") is None
