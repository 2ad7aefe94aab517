"""The tokenizer files of an export give the ids of the tokenizer that the model was trained with."""

from __future__ import annotations

import pytest

from trimer.export.tokenizer_files import write_tokenizer
from trimer.models.convert.vocabularies import rows_of
from trimer.tokenizers.bpe import BytePairTokenizer
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

transformers = pytest.importorskip("transformers")

TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "C", "O", "N", "(", ")", "=", "1", "c", "[C@@H]", "Cl"]
PROTEINS = ["MKTAYIAKQR", "", "mkxT*J A\nP", "BZUO.-"]
MOLECULES = ["CC(=O)Nc1ccc(O)cc1", "C[C@@H](N)C(=O)O", "[Na+].[Cl-]", "C/C=C\\Cl", "BrC1CCCCC1", "[13CH4]"]
ATOMS = ["C[C@@H](N)Cl", "c1ccccc1", "CCBr"]
KINDS = {
    "protein": (ProteinTokenizer(), PROTEINS),
    "lower case is unknown": (ProteinTokenizer("unknown"), PROTEINS),
    "smiles": (SmilesTokenizer(), MOLECULES),
    "selfies": (SmilesTokenizer("selfies"), MOLECULES),
    "atoms": (BytePairTokenizer(tokens=TOKENS, atoms=True), ATOMS),
    "bytes": (BytePairTokenizer(tokens=[*TOKENS[:13], "CC"], merges=["C C"]), ["CC(=O)O", "c1ccccc1"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_equal_in_transformers(kind, tmp_path):
    tokenizer, texts = KINDS[kind]
    assert write_tokenizer(tokenizer, tmp_path, longest=64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in texts:
        if isinstance(tokenizer, SmilesTokenizer):  # theirs reads the canonical text
            text = tokenizer.molecule.codec.canonical(text)
        written = tokenizer.molecule.codec.encode(text) if isinstance(tokenizer, SmilesTokenizer) else text
        assert theirs(written)["input_ids"] == tokenizer.encode(text).tolist(), text
    assert (theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id) == (
        tokenizer.pad,
        tokenizer.cls,
        tokenizer.eos,
    )
    assert theirs.mask_token_id == tokenizer.mask and theirs.model_max_length == 64
    assert rows_of(tokenizer.vocabulary.tokens, tmp_path) is None  # Trimer reads the folder again


def test_the_tokenizer_of_esm_reads_the_vocabulary(tmp_path):
    write_tokenizer(ProteinTokenizer(), tmp_path)
    theirs = transformers.EsmTokenizer(str(tmp_path / "vocab.txt"))
    assert theirs("MKTAYIX")["input_ids"] == ProteinTokenizer().encode("MKTAYIX").tolist()
