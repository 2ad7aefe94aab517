"""Texts as a model reads them: what is canonical, what is dropped, and how keys group them."""

import numpy as np
import pytest
import torch

from trimer.data.labelled.sequence_kinds import Molecules, Peptides, Proteins, flat, model_inputs, shortened
from trimer.data.molecules.molecule_rules import UNREADABLE
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer


def test_molecules_are_canonical_and_keep_their_stereochemistry():
    texts = [" OCC ", "CCO", "C(", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "c1ccccc1C"]
    sequences = Molecules(SmilesTokenizer()).read(texts)
    assert sequences.dropped == {UNREADABLE: [2]}
    assert sequences.texts[:2] == ["CCO", "CCO"] and sequences.texts[2] is None
    assert sequences.texts[3] != sequences.texts[4]
    keys = sequences.keys["inchikey1"]
    assert keys[0] == keys[1] != keys[3] == keys[4]
    assert sequences.keys["scaffold"] == ["", "", None, "", "", "c1ccccc1"]
    assert [tokens is None for tokens in sequences.tokens] == [row == 2 for row in range(6)]
    assert sequences.dtype is np.uint16


def test_proteins_are_tokenized_by_residue():
    sequences = Proteins(ProteinTokenizer()).read(["mk l\n", "MKL*", "", " * ", "M*K", "MJ"])
    assert sequences.texts[:2] == ["MKL", "MKL"]
    assert sequences.dropped == {"no sequence": [2, 3], "stop (*) inside the sequence": [4]}
    assert sequences.keys["sequence"][0] == sequences.keys["sequence"][1] != sequences.keys["sequence"][5]
    assert [None if ids is None else len(ids) for ids in sequences.tokens] == [5, 5, None, None, None, 4]
    assert sequences.dtype is np.uint8


@pytest.mark.parametrize(("kind", "size", "dtype"), [(Proteins, 300, np.uint16), (Molecules, 70_000, np.uint32)])
def test_id_type_fits_the_vocabulary(kind, size, dtype):
    class Large(ProteinTokenizer):
        def __len__(self) -> int:
            return size

    assert kind(Large()).read([]).dtype is dtype


@pytest.mark.parametrize(
    ("way", "most", "expected"),
    [
        ("drop", 5, None),
        ("drop", 8, list(range(8))),
        ("start", 5, [0, 1, 2, 3, 7]),
        ("ends", 5, [0, 1, 2, 6, 7]),
        ("ends", 4, [0, 1, 6, 7]),
        ("ends", 3, [0, 1, 7]),
    ],
)
def test_long_sequences_are_shortened(way, most, expected):
    sequences = shortened(np.arange(8), most, way)
    assert (None if sequences is None else sequences.tolist()) == expected


def test_peptides_that_were_read_by_several_requests_are_computed_together():
    kind = Peptides(ProteinTokenizer())
    texts = ["AC[UNIMOD:4]K", "PEPTIDEK", "M[UNIMOD:35]C[UNIMOD:4]K", "[UNIMOD:1]-M[UNIMOD:35]K"]
    inputs = []
    for text in texts:
        sequences = kind.read([text])
        inputs += model_inputs(kind, sequences, dict(enumerate(sequences.tokens))).values()
        if len(inputs) == 3:
            kind.bound(1)
    assert len(kind.compositions) == 2  # the two of the last request; the others were forgotten
    alone = [flat([one]) for one in inputs]
    together = flat(inputs)
    assert torch.equal(together.composition, torch.cat([one.composition for one in alone]))
    starts = np.cumsum([0, *(len(one.tokens) for one in alone)]).tolist()
    places = [start + place for one, start in zip(alone, starts, strict=False) for place in one.places.tolist()]
    assert together.places.tolist() == places
