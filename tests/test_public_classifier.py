"""Public classifiers of proteins and molecules predict as `transformers` does."""

from __future__ import annotations

import json

import pytest
import torch

import trimer
from trimer.cli.main import main
from trimer.export.tokenizer_files import write_tokenizer
from trimer.tokenizers.bpe import BytePairTokenizer
from trimer.tokenizers.protein import ProteinTokenizer

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("fp32")

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
ESM = {"vocab_size": 33, "mask_token_id": 32, "pad_token_id": 1, "position_embedding_type": "rotary"}
ESM |= {"token_dropout": True, "layer_norm_eps": 1e-5, "emb_layer_norm_before": False}
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "C", "O", "N", "(", ")", "=", "1", "c"]
PROTEINS, MOLECULES = ["MKTAYIAKQR", "GIVEQ"], ["CC(=O)O", "c1ccccc1"]


def classifier(folder, family: str, kind: str = "Sequence", **settings):
    """A folder as `save_pretrained` writes it, and its model."""
    torch.manual_seed(0)
    common = {**SIZES, "initializer_range": 0.3, "hidden_dropout_prob": 0.0, **settings}
    if family == "Esm":
        config, tokenizer = transformers.EsmConfig(**ESM, **common), ProteinTokenizer()
    else:
        config = transformers.RobertaConfig(vocab_size=len(TOKENS), max_position_embeddings=40, **common)
        config.type_vocab_size, tokenizer = 1, BytePairTokenizer(tokens=TOKENS)
    model = getattr(transformers, f"{family}For{kind}Classification")(config).eval()
    model.save_pretrained(folder)
    write_tokenizer(tokenizer, folder)
    return model, tokenizer


@torch.no_grad()
def logits_of(model, tokenizer, text: str) -> torch.Tensor:
    ids = torch.tensor([tokenizer.encode(text).tolist()])
    return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]


@pytest.mark.parametrize(("family", "texts"), [("Esm", PROTEINS), ("Roberta", MOLECULES)])
def test_classes_have_the_probabilities_of_transformers(family, texts, empty_folder):
    names = {0: "soluble", 1: "membrane", 2: "other"}
    model, tokenizer = classifier(empty_folder / "public", family, id2label=names)
    rows = trimer.load(empty_folder / "public").predict(texts).rows
    for text, row in zip(texts, rows, strict=True):
        expected = logits_of(model, tokenizer, text).softmax(-1).tolist()
        found = [row[f"probability of {name}"] for name in names.values()]
        assert found == pytest.approx(expected, abs=1e-5)
        assert row["label"] == names[expected.index(max(expected))]


def test_numbers_labels_and_residues(empty_folder):
    number, tokenizer = classifier(empty_folder / "number", "Esm", num_labels=1)
    (row,) = trimer.load(empty_folder / "number").predict(PROTEINS[:1]).rows
    assert row["LABEL_0"] == pytest.approx(float(logits_of(number, tokenizer, PROTEINS[0])), abs=1e-5)
    names = {0: "sweet", 1: "bitter"}
    labels, tokenizer = classifier(
        empty_folder / "labels", "Roberta", id2label=names, problem_type="multi_label_classification"
    )
    (row,) = trimer.load(empty_folder / "labels").predict(MOLECULES[:1]).rows
    expected = logits_of(labels, tokenizer, MOLECULES[0]).sigmoid().tolist()
    assert [row[f"probability of {name}"] for name in names.values()] == pytest.approx(expected, abs=1e-5)
    residues, tokenizer = classifier(empty_folder / "residues", "Esm", "Token", id2label={0: "H", 1: "E"})
    (row,) = trimer.load(empty_folder / "residues").predict(PROTEINS[:1]).rows
    expected = logits_of(residues, tokenizer, PROTEINS[0]).softmax(-1)[1:-1, 1].tolist()
    assert row["probability of E"] == pytest.approx(expected, abs=1e-5) and len(row["labels"]) == len(PROTEINS[0])


def test_the_command_line_predicts_from_a_public_folder(empty_folder, capsys):
    classifier(empty_folder / "public", "Esm", id2label={0: "a", 1: "b"})
    (empty_folder / "proteins.fasta").write_text(">one\nMKTAYIAKQR\n")
    assert main(["predict", "ckpt=public", "input=proteins.fasta", "output=out.csv"]) == 0, capsys.readouterr().err
    assert "probability of b" in (empty_folder / "out.csv").read_text()
    config = json.loads((empty_folder / "public" / "config.json").read_text())
    (empty_folder / "public" / "config.json").write_text(json.dumps(config | {"problem_type": "ranking"}))
    assert main(["predict", "ckpt=public", "input=proteins.fasta", "output=new.csv"]) == 1
    assert "problem_type=ranking in config.json must be one of" in capsys.readouterr().err
