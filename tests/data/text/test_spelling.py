"""Texts that a vocabulary cannot represent are reported; `atoms` splits like the original tokenizer."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.labelled.sequence_kinds import Molecules
from trimer.data.text.spelling import Spelling
from trimer.errors import InputError
from trimer.tokenizers.bpe import BytePairTokenizer
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

C77 = Path(__file__).parents[2] / "cases" / "molecules" / "c77_vocab.json"
MOLECULES = ["CCO", "CCCl", "C[N+](C)(C)C", "c1ccccc1", "N[C@@H](C)C(=O)O", "BrCCBr", "CC(=O)[O-]", "CCN"]
LOST = {"CCCl", "C[N+](C)(C)C", "N[C@@H](C)C(=O)O", "BrCCBr", "CC(=O)[O-]"}


@pytest.fixture
def folder(tmp_path):
    """The files of ChemBERTa-77M: a vocabulary of atoms, and no merges."""
    shutil.copy(C77, tmp_path / "vocab.json")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    return tmp_path


def test_texts_with_missing_atoms_are_counted(folder):
    tokenizer = BytePairTokenizer(folder)
    kind = Molecules(tokenizer)
    kind.read(MOLECULES)
    counts = kind.spelling.to_dict()
    assert (counts["texts"], counts["incomplete"]) == (8, len(LOST))
    assert counts["signs"]["["] == 3 and counts["signs"]["l"] == 1 and counts["signs"]["r"] == 2
    assert {text for text in MOLECULES if tokenizer.unspelled(text)} == LOST


def test_atoms_are_split_as_by_the_original_tokenizer(folder):
    ids = json.loads(C77.read_text())
    tokenizer = BytePairTokenizer(folder, atoms=True)
    assert tokenizer.unk == 11 and tokenizer.cls == 12 and tokenizer.eos == 13 and tokenizer.mask == 14
    cut = {
        "CCCl": ["C", "C", "Cl"],
        "C[N+](C)C": ["C", "[N+]", "(", "C", ")", "C"],
        "BrCCBr": ["Br", "C", "C", "Br"],
        "N[C@@H](C)C": ["N", "[UNK]", "(", "C", ")", "C"],  # the vocabulary of this file has no stereo
        "C[MASK]O": ["C", "[MASK]", "O"],
        "C%10CC%10": ["C", "[UNK]", "C", "C", "[UNK]"],
    }
    for text, tokens in cut.items():
        expected = [ids[token] for token in ("[CLS]", *tokens, "[SEP]")]
        assert tokenizer.encode(text).tolist() == expected
        assert tokenizer.encode_many([text])[0].tolist() == expected
    assert tokenizer.decode(tokenizer.encode("C[N+](C)CCl")) == "C[N+](C)CCl"
    assert tokenizer.unspelled("N[C@@H](C)C/C=C/Cl") == ["[C@@H]", "/", "/"]
    names = [tokenizer.vocabulary.tokens[number] for number in tokenizer.alphabet.replacements]
    assert "Cl" in names and "[N+]" in names and "[UNK]" not in names and "[PAD]" not in names


def test_a_checkpoint_keeps_the_setting(folder):
    for atoms in (False, True):
        again = build(BytePairTokenizer(folder, atoms=atoms).to_config())
        assert again.atoms is atoms
        assert again.encode("CCCl").tolist() == BytePairTokenizer(folder, atoms=atoms).encode("CCCl").tolist()


def test_a_vocabulary_of_lines_is_read_by_atoms(folder, tmp_path):
    lines = tmp_path / "lines"
    lines.mkdir()
    (lines / "vocab.txt").write_text("\n".join(json.loads(C77.read_text())) + "\n")
    assert BytePairTokenizer(lines, atoms=True).to_config() == BytePairTokenizer(folder, atoms=True).to_config()
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor vocab\.json with merges\.txt"):
        BytePairTokenizer(lines)
    with pytest.raises(InputError, match="no vocabulary"):
        BytePairTokenizer(tmp_path / "lines" / "none", atoms=True)


def prepared(folder, tmp_path, *words: str):
    table = tmp_path / "mine.csv"
    table.write_text("smiles,y\n" + "\n".join(f"{text},{row}" for row, text in enumerate(MOLECULES)))
    data = ["data=labelled_molecules", f"data.source.paths={table}", "data.source.labels=y", "data.target=regression"]
    split = ["data.split.keys=[row]", "data.split.fractions={train: 0.5, val: 0.25, test: 0.25}"]
    cut = ["data/tokenizer=bpe", f"data.tokenizer.folder={folder}", f"paths.cache={tmp_path}/cache"]
    return build(compose("train", [*data, *split, *cut, *words]).data)


def test_training_warns_in_every_run_and_names_the_setting(folder, tmp_path, caplog):
    for _ in range(2):  # the second one reads the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            prepared(folder, tmp_path).setup()
        assert "5 of 8 molecules (62.5 %) hold what the vocabulary cannot spell" in caplog.text
        assert "data.tokenizer.atoms=true (of trimer embed: atoms=true) cuts by atoms" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        prepared(folder, tmp_path, "data.tokenizer.atoms=true").setup()
    assert "1 of 8 molecules (12.5 %)" in caplog.text and "'[C@H]' 1 times" in caplog.text, "it is canonical"
    assert "atoms=true" not in caplog.text


def test_pretraining_warns_too(folder, tmp_path, caplog):
    (tmp_path / "mine.smi").write_text("\n".join(MOLECULES * 1))
    words = ["data=molecules", f"data.source.paths={tmp_path}/mine.smi", f"paths.cache={tmp_path}/cache"]
    words += ["data/tokenizer=bpe", f"data.tokenizer.folder={folder}", "data.prepare_workers=1"]
    data = build(compose("train", [*words, "data.split.fractions={train: 0.5, val: 0.25, test: 0.25}"]).data)
    with caplog.at_level(logging.WARNING):
        data.setup()
    assert "5 of 8 molecules (62.5 %)" in caplog.text


def test_our_vocabularies_represent_all_molecules():
    spelling = Spelling(SmilesTokenizer(), "molecules")
    spelling.count(MOLECULES)
    assert spelling.to_dict() == {}


def test_protein_letters_without_a_token_are_counted():
    assert np.array_equal(ProteinTokenizer().encode("MJK")[2:3], [3])
    spelling = Spelling(ProteinTokenizer(), "proteins")
    spelling.count(["MKJJ", "MKXBZUO", "MK", None])
    assert (spelling.to_dict()["texts"], spelling.to_dict()["incomplete"]) == (3, 1)
    assert spelling.to_dict()["signs"] == {"J": 2}
