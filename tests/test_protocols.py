"""Classes have the members of their protocols; minimal user classes work, and missing members give one sentence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from trimer.data.core.batches import LabelledBatch, MaskedBatch
from trimer.data.core.label_table import LabelTable
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.models.roberta import Roberta
from trimer.optim import adamw
from trimer.prediction.fragment_predictor import FragmentPredictor
from trimer.prediction.label_predictor import LabelPredictor
from trimer.prediction.molecule_predictor import MoleculePredictor
from trimer.protocols import (
    DataModule,
    Encoder,
    MaskedModel,
    Metric,
    Predictor,
    Seq2SeqModel,
    Source,
    Tokenizer,
    compile_parts,
    encoder_of,
    members,
    missing_members,
)
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.tasks.classification import Classification
from trimer.tasks.fragments import SpectrumSimilarity
from trimer.tasks.masked_lm import MaskedLM
from trimer.tasks.regression import Regression
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer
from trimer.tokenizers.vocabulary import Vocabulary


class Letters:
    """A minimal tokenizer: one token for each character."""

    def __init__(self):
        self.vocabulary = Vocabulary("CON")

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> np.ndarray | None:
        ids = self.vocabulary.ids
        framed = ["<s>", *text, "</s>"]
        return np.array([ids[letter] for letter in framed]) if set(text) <= set("CON") else None

    def decode(self, ids) -> str:
        return "".join(self.vocabulary.tokens[i] for i in ids[1:-1])

    def to_config(self) -> dict:
        return {"_target_": "letters.Letters"}


class Alkanols:
    """A minimal source."""

    def fingerprint(self) -> str:
        return "alkanols"

    def chunks(self, columns=()):
        texts = ["C" * n + "O" for n in range(1, 21)]
        sizes = [str(float(n)) for n in range(1, 21)]
        yield LabelTable(list(texts), texts, {"size": sizes}, {}, list(texts))


class Bag(nn.Module):
    """A minimal encoder."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.d_model = 8
        self.table = nn.Embedding(vocab_size, 8)

    def hidden(self, sequence: Flat, layer: int | None = None) -> torch.Tensor:
        return self.table(sequence.tokens)


def bart() -> Bart:
    return Bart(33, d_model=16, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2)


@pytest.mark.parametrize(
    ("value", "protocol"),
    [
        (Esm2(d_model=16, layers=1, heads=2), MaskedModel),
        (Roberta(33, d_model=16, layers=1, heads=2), MaskedModel),
        (PeptideEncoder(d_model=16), Encoder),
        (bart(), Seq2SeqModel),
        (bart().alone(), Encoder),
        (ProteinTokenizer(), Tokenizer),
        (SmilesTokenizer(), Tokenizer),
        (SimulatedProteins(3), Source),
        (SpectrumSimilarity(), Metric),
        (Letters(), Tokenizer),
        (Alkanols(), Source),
        (Bag(5), Encoder),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_classes_have_the_members_of_their_protocol(value, protocol):
    assert missing_members(value, protocol) == [] and isinstance(value, protocol)


@pytest.mark.parametrize("kind", [LabelPredictor, MoleculePredictor, FragmentPredictor])
def test_predictors_have_the_members_of_their_protocol(kind):
    """The columns of labels and the kind of sequences are known from the checkpoint."""
    assert set(missing_members(kind, Predictor)) <= {"columns", "plural"}


def test_members_of_a_protocol_include_those_of_its_bases():
    assert members(Encoder) == ("d_model", "hidden")
    assert members(MaskedModel) == ("d_model", "hidden", "logits")
    assert missing_members(Bag(5), MaskedModel) == ["logits"]
    assert {"batch", "tokenizer", "setup", "train_dataloader", "row_keys"} <= set(members(DataModule))


def test_minimal_source_tokenizer_and_encoder_of_a_user(tmp_path):
    split = {"keys": ["inchikey1"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    tokenizer = Letters()
    data = LabelledSequences(
        Alkanols(), tokenizer, "molecules", "regression", split, cache=str(tmp_path), tokens_per_batch=60
    )
    data.setup()
    task = Regression(Bag(len(tokenizer)), tokenizer, lambda groups: adamw(groups, fused=False), freeze=-1)
    task.check_parts(data)
    task.configure_for(data)
    batch = next(iter(data.evaluation_batches("test")))
    assert task.predict_step(batch, 0)["predictions"].shape == (len(batch), 1)
    assert np.isfinite(task.evaluate(data.evaluation_batches("val"))["rmse"])
    assert not task.net.encoder.table.weight.requires_grad


def data_of(batch: type) -> SimpleNamespace:
    return SimpleNamespace(batch=batch, tokenizer=None, target="single", classes=["a", "b"], max_length=9)


def test_missing_members_are_reported_in_one_sentence():
    with pytest.raises(ConfigError, match="cannot train model=Bag, which has no logits"):
        MaskedLM(Bag(5), None).check_parts(data_of(MaskedBatch))
    for settings in ({"freeze": 1}, {"layer_decay": 0.5}):
        with pytest.raises(ConfigError, match=r"model=Bag has no `layers`: set task\.freeze to 0 or -1"):
            Classification(Bag(5), None, **settings).check_parts(data_of(LabelledBatch))
    for net in (Bag(5), Labelled(Bag(5), 2, "single")):
        with pytest.raises(ConfigError, match=r"model=Bag has no method compile_parts: set task\.compile=false"):
            compile_parts(net)


def test_optional_members_have_defaults():
    net = Bag(5)
    assert encoder_of(net) is net
    assert type(encoder_of(bart())).__name__ == "BartEncoder"
    assert Labelled(net, 2, "single")(Flat.pack([[0, 4, 2], [0, 2]])).shape == (2, 2)


def test_a_network_that_needs_two_sequences_is_no_masked_model():
    net = Bart(
        30, d_model=16, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2, encoder_ffn=32,
        decoder_ffn=32,
    )  # fmt: skip
    assert missing_members(net, MaskedModel) == ["forward(sequence)"]
    assert missing_members(net, Seq2SeqModel) == []
