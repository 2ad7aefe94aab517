"""SMILES as sequences of an encoder: special tokens, round trips, and which tokens may be masked."""

import numpy as np
import pytest

from trimer.building import build
from trimer.chemistry.identifiers import parse
from trimer.data.core.draws import keys
from trimer.data.core.masking import Masking
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.tokenizers.smiles import SmilesTokenizer
from trimer.tokenizers.vocabulary import BOS, EOS, MASK, PAD, SPECIALS, UNK

MOLECULES = [*simulated_molecules(40, seed=3), "C[C@H](N)C(=O)O", "[Na+].[Cl-]", "F/C=C\\F", "BrC1CC1", "[Xe]"]


@pytest.mark.parametrize("representation", ["smiles", "deepsmiles", "selfies"])
def test_molecules_round_trip(representation):
    from rdkit.Chem import MolToSmiles

    tokenizer = SmilesTokenizer(representation)
    again = build(tokenizer.to_config())
    assert again.vocabulary.digest == tokenizer.vocabulary.digest and len(again) == len(tokenizer)
    for smiles in MOLECULES:
        ids = tokenizer.encode(smiles)
        assert (ids[0], ids[-1], ids.dtype) == (BOS, EOS, np.uint16)
        assert ids[1:-1].min() >= len(SPECIALS) and ids.max() < len(tokenizer)
        assert tokenizer.decode(ids) == MolToSmiles(parse(smiles)), smiles
        assert again.encode(smiles).tolist() == ids.tolist()


def test_stereochemistry_is_kept_or_removed():
    left, right = "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"
    assert SmilesTokenizer().encode(left).tolist() != SmilesTokenizer().encode(right).tolist()
    assert SmilesTokenizer(stereo=False).encode(left).tolist() == SmilesTokenizer(stereo=False).encode(right).tolist()


def test_invalid_molecules_and_texts_are_none():
    tokenizer = SmilesTokenizer()
    assert tokenizer.encode("C(") is None
    for ids in ([], [BOS, EOS], [BOS, MASK, EOS], [BOS, UNK, EOS]):
        assert tokenizer.decode(ids) is None
    opened = [tokenizer.vocabulary.ids["C"], tokenizer.vocabulary.ids["("]]
    assert tokenizer.decode([BOS, *opened, EOS]) is None


def test_special_tokens_are_never_masked_or_used_as_replacements():
    tokenizer = SmilesTokenizer()
    alphabet = tokenizer.alphabet
    assert (alphabet.begin, alphabet.end, alphabet.mask) == (BOS, EOS, MASK)
    assert np.flatnonzero(~alphabet.hideable).tolist() == [BOS, PAD, EOS, UNK, MASK]
    assert alphabet.replacements.tolist() == list(range(len(SPECIALS), len(tokenizer)))
    sequences = [tokenizer.encode(smiles) for smiles in MOLECULES] * 50
    tokens, lengths = np.concatenate(sequences), np.array([len(ids) for ids in sequences])
    ends = np.cumsum(lengths)
    drawn = keys(0, 0, np.arange(len(sequences)))
    damaged, positions = Masking(1.0, 0.5, 0.5)(tokens, lengths, drawn, alphabet)
    frame = np.r_[ends - lengths, ends - 1]
    assert len(positions) == len(tokens) - 2 * len(sequences) and not np.isin(frame, positions).any()
    assert (damaged[frame] == tokens[frame]).all() and damaged.dtype == tokens.dtype
    put = damaged[positions][damaged[positions] != MASK]
    assert set(put.tolist()) == set(alphabet.replacements.tolist()), "exactly the replacement tokens"
    assert 0.45 < len(put) / len(positions) < 0.55
