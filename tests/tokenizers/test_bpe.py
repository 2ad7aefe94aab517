"""Byte-pair encodings read from files agree with `transformers` and are stored completely in checkpoints."""

import json
import pickle

import numpy as np
import pytest
import torch

from trimer.building import build
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.bpe import SPECIALS, BytePairTokenizer, read_files

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

SMILES = [
    "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O", "C[N+](C)(C)CC([O-])=O",
    "ClCCCl", "BrC1CC%10CC1CC%10", "F/C=C\\F", "C#N", "[Na+].[Cl-]", "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
]  # fmt: skip
TEXTS = [*SMILES, "", "C", "C C", " CC ", "CC\n\tO", "C<mask>O", "<s>C</s>", "<unk>", "é\u03b2\U0001f9ea", "x" * 300]
CHEMBERTA_2 = [
    "[PAD]", *[f"[unused{i}]" for i in range(1, 11)], "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    "c", "C", "(", ")", "O", "1", "2", "=", "N", "n", "[C@@H]", "Cl", "Br",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """vocab.json and merges.txt of an encoding trained on the SMILES."""
    path = tmp_path_factory.mktemp("trained")
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(
        SMILES, vocab_size=300, min_frequency=2, special_tokens=list(SPECIALS.values()), show_progress=False
    )
    trained.save_model(str(path))
    return path


@pytest.fixture
def chemberta_2(tmp_path):
    """The files of ChemBERTa-2: atom tokens, special names, no merges, fewer tokens than embedding rows."""
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(CHEMBERTA_2)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    names = {"unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]", "sep_token": "[SEP]",
             "cls_token": "[CLS]", "pad_token": "[PAD]", "mask_token": {"content": "[MASK]"}}  # fmt: skip
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", "vocab_size": 40}))
    return tmp_path


def check(ours: BytePairTokenizer, theirs, texts: list[str] = TEXTS) -> None:
    """Check that ids and texts agree with `transformers`, one by one and in batches."""
    together = ours.encode_many(texts)
    assert len(together) == len(texts) and together.values.dtype == np.uint16
    for row, text in enumerate(texts):
        expected = theirs(text)["input_ids"]
        assert ours.encode(text).dtype == np.uint16
        assert ours.encode(text).tolist() == expected == together[row].tolist()
        frame = {theirs.cls_token_id, theirs.sep_token_id, theirs.pad_token_id}
        assert ours.decode(expected) == theirs.decode(
            [i for i in expected if i not in frame], clean_up_tokenization_spaces=False
        )
    tokens = theirs.convert_ids_to_tokens(range(len(theirs)))
    assert ours.vocabulary.tokens[: len(tokens)] == tokens
    special = (theirs.cls_token_id, theirs.pad_token_id, theirs.sep_token_id, theirs.unk_token_id, theirs.mask_token_id)
    assert (ours.cls, ours.pad, ours.eos, ours.unk, ours.mask) == special


def test_ids_agree_with_transformers(folder):
    ours = BytePairTokenizer(folder)
    check(ours, transformers.RobertaTokenizer.from_pretrained(folder))
    assert (ours.cls, ours.pad, ours.eos, ours.unk, ours.mask) == (0, 1, 2, 3, 4)
    assert len(ours.encode(SMILES[0])) < len(SMILES[0])  # some pairs were merged
    assert len(ours) == len(ours.vocabulary) == 5 + 256 + len(ours.merges)
    assert all(ours.decode(ours.encode(smiles)) == smiles and ours.unspelled(smiles) == [] for smiles in SMILES)


def test_a_single_tokenizer_file_is_read(folder, tmp_path):
    theirs = transformers.RobertaTokenizer.from_pretrained(folder)
    theirs.save_pretrained(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    assert (tmp_path / "tokenizer.json").is_file()
    check(BytePairTokenizer(tmp_path), theirs)
    assert BytePairTokenizer(tmp_path).to_config() == BytePairTokenizer(folder).to_config()


def test_a_prefix_space_is_added_as_configured(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    ours = BytePairTokenizer(tmp_path)
    check(ours, transformers.RobertaTokenizer.from_pretrained(tmp_path, add_prefix_space=True))
    assert ours.encode("C").tolist() != BytePairTokenizer(folder).encode("C").tolist()


def test_the_tokenizer_of_chemberta_2_is_read(chemberta_2):
    ours = BytePairTokenizer(chemberta_2)
    texts = ["CC(=O)O", "[C@@H](N)Cl", "c1ccnc1", "C[MASK]O", "Br", "C C", ""]
    check(ours, transformers.RobertaTokenizer.from_pretrained(chemberta_2), texts)
    assert (ours.pad, ours.unk, ours.cls, ours.eos, ours.mask) == (0, 11, 12, 13, 14)
    assert ours.encode("[C@@H](N)Cl").tolist() == ours.encode("C(N)C").tolist()
    assert ours.unspelled("[C@@H](N)Cl") == list("[@@H]l") and ours.unspelled("CC(=O)O") == []
    assert len(ours) == 40  # the rows of the model
    assert ours.vocabulary.tokens[-1] == "<unused_39>" and ours.vocabulary.tokens[: len(CHEMBERTA_2)] == CHEMBERTA_2


def test_a_checkpoint_holds_the_complete_tokenizer(folder, chemberta_2, tmp_path):
    for source in (folder, chemberta_2):
        ours = BytePairTokenizer(source)
        torch.save(ours.to_config(), tmp_path / "config.pt")
        config = torch.load(tmp_path / "config.pt", weights_only=True)
        assert str(source) not in str(config)
        again = build(config)
        assert again.vocabulary.tokens == ours.vocabulary.tokens and again.merges == ours.merges
        assert all(again.encode(text).tolist() == ours.encode(text).tolist() for text in TEXTS)
        assert again.to_config() == ours.to_config()
        assert pickle.loads(pickle.dumps(ours)).encode("CCO").tolist() == ours.encode("CCO").tolist()


def test_the_tokenizer_is_built_from_plain_config_values():
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "$", "{", "${", "C", "CC", "?", "??", "???"]
    merges = ["$ {", "C C", "? ?", "?? ?"]
    ours = BytePairTokenizer(tokens=tokens, merges=merges)
    assert ours.encode("${CCC???").tolist() == [0, 7, 9, 8, 12, 2]
    assert build(ours.to_config()).encode("${CCC???").tolist() == [0, 7, 9, 8, 12, 2]
    plain = {"_target_": "trimer.tokenizers.bpe.BytePairTokenizer", "tokens": [*tokens[:5], "C", "CC"]}
    assert build({**plain, "merges": ["C C"]}).encode("CCC").tolist() == [0, 6, 5, 2]


def test_unused_ids_and_added_tokens_are_supported(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "C": 6}))
    (tmp_path / "merges.txt").write_text("")
    (tmp_path / "added_tokens.json").write_text('{"<mask>": 7}')
    ours = BytePairTokenizer(tmp_path)
    assert ours.vocabulary.tokens == ["<s>", "<pad>", "</s>", "<unk>", "<unused_4>", "<unused_5>", "C", "<mask>"]
    assert ours.encode("C<mask>").tolist() == [0, 6, 7, 2]
    assert ours.decode([0, 6, 4, 7, 2, 1]) == "C<unused_4><mask>"


def test_only_ordinary_tokens_are_masked_and_used_as_replacements(folder, chemberta_2):
    ours = BytePairTokenizer(folder)
    alphabet = ours.alphabet
    assert (alphabet.begin, alphabet.end, alphabet.mask) == (0, 2, 4)
    assert alphabet.hideable.tolist() == [False] * 5 + [True] * (len(ours) - 5)
    assert alphabet.replacements.tolist() == list(range(5, len(ours)))
    few = BytePairTokenizer(chemberta_2)
    assert np.flatnonzero(~few.alphabet.hideable).tolist() == [0, 11, 12, 13, 14]
    # Without merges no text is ever split into an atom of two letters or an unused token.
    assert [few.vocabulary.tokens[i] for i in few.alphabet.replacements] == list("cC()O12=Nn")


def test_ids_above_65535_are_supported():
    tokens = [*SPECIALS.values(), *[f"word{i}" for i in range(70_000)], "C"]
    assert BytePairTokenizer(tokens=tokens).encode("C").tolist() == [0, 70_005, 2]


def test_encoding_no_texts_gives_no_tokens():
    ours = BytePairTokenizer(tokens=list(SPECIALS.values()))
    assert len(ours.encode_many([])) == 0
    assert ours.decode([]) == ""


def test_invalid_files_and_arguments_give_one_sentence(folder, chemberta_2, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor vocab\.json with merges\.txt"):
        BytePairTokenizer(empty)
    for arguments in ({}, {"folder": folder, "tokens": ["a"]}):
        with pytest.raises(ConfigError, match="from a folder or built from tokens: give one of the two"):
            BytePairTokenizer(**arguments)
    with pytest.raises(InputError, match=r"'<mask>' \(mask\) is not among the tokens"):
        BytePairTokenizer(tokens=["<s>", "<pad>", "</s>", "<unk>"])
    with pytest.raises(ConfigError, match=r"specials\.bos is not known"):
        BytePairTokenizer(tokens=list(SPECIALS.values()), specials={"bos": "<s>"})
    with pytest.raises(InputError, match="the merge 'C O' is not of two tokens that make a third one"):
        BytePairTokenizer(tokens=[*SPECIALS.values(), "C", "O"], merges=["C O"])
    (chemberta_2 / "merges.txt").write_text("#version: 0.2\nC c\nCO\n")
    with pytest.raises(InputError, match=r"merges\.txt line 3: 'CO' is not a merge of two tokens"):
        read_files(chemberta_2)
    (chemberta_2 / "merges.txt").write_text("")
    (chemberta_2 / "config.json").write_text('{"vocab_size": 7}')
    with pytest.raises(InputError, match=r"config\.json: vocab_size=7 leaves no row for the id 27"):
        read_files(chemberta_2)
    (chemberta_2 / "vocab.json").write_text('{"a": 0, "b": 0}')
    with pytest.raises(InputError, match="the id 0 of 'b'"):
        read_files(chemberta_2)
    (chemberta_2 / "vocab.json").write_text("{")
    with pytest.raises(InputError, match=r"vocab\.json cannot be read"):
        read_files(chemberta_2)
    word_level = {"model": {"type": "WordLevel", "vocab": {}}, "pre_tokenizer": {"type": "Split"}}
    (chemberta_2 / "tokenizer.json").write_text(json.dumps(word_level))
    with pytest.raises(InputError, match=r"no byte-level byte-pair encoding \(model WordLevel, words cut by Split\)"):
        read_files(chemberta_2)
