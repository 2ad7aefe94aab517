"""The alphabet of the ESM models: every character is one token."""

from itertools import pairwise

import numpy as np
import pytest

from trimer.building import build
from trimer.errors import ConfigError
from trimer.tokenizers.protein import CLS, EOS, MASK, PAD, RESIDUES, UNK, ProteinTokenizer

PUBLISHED = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"


def test_the_vocabulary_has_the_published_order():
    tokenizer = ProteinTokenizer()
    assert tokenizer.vocabulary.tokens == PUBLISHED.split()
    assert len(tokenizer) == 33
    named = dict(zip(PUBLISHED.split(), range(33), strict=True))
    assert [named[f"<{word}>"] for word in ("cls", "pad", "eos", "unk", "mask")] == [CLS, PAD, EOS, UNK, MASK]
    assert {tokenizer.vocabulary.tokens[i] for i in RESIDUES} == set("ACDEFGHIKLMNPQRSTVWY")
    assert tokenizer.encode("MKL-").tolist() == [CLS, 20, 15, 4, 30, EOS]


def test_a_character_is_always_one_token():
    tokenizer = ProteinTokenizer()
    text = "MJJ1* \tKé\u03b2X"
    ids = tokenizer.encode(text)
    assert len(ids) == len(text) + 2
    assert ids[1:-1].tolist() == [20, UNK, UNK, UNK, UNK, UNK, UNK, 15, UNK, UNK, 24]
    every = tokenizer.encode(bytes(range(256)))
    known = {chr(byte) for byte in range(256) if every[1 + byte] != UNK}
    assert known == set("LAGVSERTIDPKQNFYMHWCXBUZO.-" + "lagvsertidpkqnfymhwcxbuzo")


def test_lower_case_is_handled_as_configured():
    assert ProteinTokenizer().encode("mKl").tolist() == ProteinTokenizer().encode("MKL").tolist()
    assert ProteinTokenizer(lower="unknown").encode("mKl").tolist() == [CLS, UNK, 15, UNK, EOS]
    with pytest.raises(ConfigError, match="lower='mixed' is not known: choose one of upper, unknown"):
        ProteinTokenizer(lower="mixed")


def test_encoded_sequences_decode_to_the_same_text():
    tokenizer = ProteinTokenizer()
    sequence = "MLAGVSERTIDPKQNFYMHWCXBUZO.-"
    assert tokenizer.decode(tokenizer.encode(sequence)) == sequence
    assert tokenizer.decode([CLS, 20, MASK, UNK, EOS, PAD, PAD]) == "M<mask><unk>"
    assert tokenizer.decode([]) == ""


def test_batch_encoding_equals_single_encoding():
    tokenizer = ProteinTokenizer()
    random = np.random.default_rng(0)
    letters = random.integers(0, 256, 500).astype(np.uint8)
    offsets = np.sort(np.concatenate([[20, 20, 480], random.integers(20, 480, 30)]))  # empty ones, unused ends
    encoded = tokenizer.encode_many(letters, offsets)
    assert encoded.values.dtype == np.uint8 and len(encoded) == len(offsets) - 1
    for row, (start, stop) in enumerate(pairwise(offsets)):
        assert encoded[row].tolist() == tokenizer.encode(letters[start:stop].tobytes()).tolist()
    none = tokenizer.encode_many(b"", np.array([0]))
    assert len(none) == 0 and none.values.tolist() == []


def test_the_tokenizer_is_rebuilt_from_its_config():
    tokenizer = ProteinTokenizer(lower="unknown")
    again = build(tokenizer.to_config())
    assert again.lower == "unknown" and again.vocabulary.digest == tokenizer.vocabulary.digest
