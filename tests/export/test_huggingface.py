"""Exported folders load in transformers, and their outputs equal the predictions of Trimer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trimer.checkpoint import Loaded
from trimer.errors import ConfigError
from trimer.export.huggingface import state_of, write_transformers_model
from trimer.flat import Flat
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.models.roberta import Roberta
from trimer.tokenizers.protein import ProteinTokenizer

transformers = pytest.importorskip("transformers")

SEQUENCES = [[0, 5, 9, 20, 2], [0, 4, 4, 7, 11, 23, 22, 2], [0, 6, 2]]
IDS = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in SEQUENCES], batch_first=True, padding_value=1)
MASK = (IDS != 1).long()
COMPUTED = ("esm.contact_head.", "contact_head.", "esm.rotary_embeddings.", "rotary_embeddings.")  # or not used
CLS = {"pooling": "cls", "dense": True}


def esm2(**settings) -> Esm2:
    torch.manual_seed(0)
    return Esm2(d_model=16, layers=1, heads=2, init_std=0.3, **settings)


def roberta(**settings) -> Roberta:
    torch.manual_seed(0)
    return Roberta(33, d_model=16, layers=1, heads=2, max_positions=40, init_std=0.3, **settings)


def labelled(encoder: torch.nn.Module, target: str, outputs: int, head: dict) -> Labelled:
    """A network whose buffers all have values that matter."""
    net = Labelled(encoder, outputs, target, head)
    with torch.no_grad():
        torch.nn.init.normal_(net.head.output.weight, std=0.5)
        for name in ("mean", "deviation", "weight", "prior", "temperature"):
            buffer = getattr(net, name)
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return net


def loaded(net: torch.nn.Module, classes: list[str] | None = None) -> Loaded:
    labels = {"labels": {"classes": classes}} if classes else {}
    return Loaded(net.eval(), ProteinTokenizer(), labels, Path("run/checkpoints/best.ckpt"))


def exported(net: torch.nn.Module, folder: Path, classes: list[str] | None = None):
    """The model of transformers; no weight of it is missing in the folder."""
    kind = write_transformers_model(loaded(net, classes), folder)
    model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    unset = [name for name in report["missing_keys"] if not name.startswith(COMPUTED) and ".pooler." not in f".{name}"]
    assert not unset and not report["unexpected_keys"] and not report["mismatched_keys"]
    return model.eval()


@pytest.mark.parametrize("make", [esm2, roberta])
@torch.no_grad()
def test_masked_models_and_encoders_are_equal(make, tmp_path):
    net = make().eval()
    model = exported(net, tmp_path / "masked")
    theirs = model(IDS, MASK).logits
    assert type(model).__name__ == {"esm2": "EsmForMaskedLM", "roberta": "RobertaForMaskedLM"}[make.__name__]
    torch.testing.assert_close(theirs[MASK.bool()], net(Flat.pack(SEQUENCES)), atol=2e-6, rtol=1e-5)
    encoder = make(head=False).eval()
    hidden = exported(encoder, tmp_path / "encoder")(IDS, MASK).last_hidden_state
    torch.testing.assert_close(hidden[MASK.bool()], encoder.hidden(Flat.pack(SEQUENCES)), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("make", [esm2, roberta])
@pytest.mark.parametrize("target", ["single", "multi", "regression"])
@torch.no_grad()
def test_classifiers_give_the_predictions_of_trimer(make, target, tmp_path):
    net = labelled(make(), target, 3, CLS)
    model = exported(net, tmp_path, ["a", "b", "c"])
    logits = model(IDS, MASK).logits
    links = {"single": lambda x: x.softmax(-1), "multi": torch.sigmoid, "regression": lambda x: x}
    expected = net.predictions(net(Flat.pack(SEQUENCES)))
    assert expected.std() > 0.01
    torch.testing.assert_close(links[target](logits), expected, atol=2e-6, rtol=1e-5)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    expected_type = "regression" if target == "regression" else f"{target}_label_classification"
    assert model.config.problem_type == expected_type


@pytest.mark.parametrize("make", [esm2, roberta])
@torch.no_grad()
def test_classes_of_residues_are_those_of_a_token_classifier(make, tmp_path):
    net = labelled(make(), "residue", 3, {"pooling": "residue"})
    logits = exported(net, tmp_path)(IDS, MASK).logits
    inner = torch.cat([row[1 : len(s) - 1] for row, s in zip(logits, SEQUENCES, strict=True)])
    torch.testing.assert_close(inner.softmax(-1), net.predictions(net(Flat.pack(SEQUENCES))), atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_bart_is_equal(tmp_path):
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_heads": 2, "decoder_heads": 2}
    net = Bart(33, 16, encoder_ffn=32, decoder_ffn=32, max_positions=32, init_std=0.3, **sizes).eval()
    model = exported(net, tmp_path)
    targets = torch.tensor([[0, 7, 8], [0, 9, 10], [0, 11, 12]])
    theirs = model(input_ids=IDS, attention_mask=MASK, decoder_input_ids=targets).logits
    ours = net(Flat.pack(SEQUENCES), Flat.pack(targets.tolist()))
    torch.testing.assert_close(theirs.flatten(0, 1), ours, atol=2e-6, rtol=1e-5)


def test_what_transformers_cannot_express_is_rejected(tmp_path):
    for net, sentence in (
        (Labelled(esm2(), 2, "single", {"pooling": "mean"}), r"no class for a head with task\.head\.pooling=mean"),
        (Labelled(esm2(), 2, "single", {"pooling": "cls"}), "pooling=cls and no dense layer"),
        (Labelled(esm2(), 2, "residue", {"pooling": "residue", "dense": True}), "pooling=residue and a dense layer"),
        (Labelled(PeptideEncoder(d_model=16), 1, "regression"), "no class for a head on a PeptideEncoder"),
        (PeptideEncoder(d_model=16), "no class for model=PeptideEncoder"),
        (esm2(masked_share=0.2), "masked_share=0.2 cannot be converted"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            state_of(net, {})
    focal = labelled(esm2(), "single", 2, CLS)
    focal.focal.fill_(2.0)
    with pytest.raises(ConfigError, match="focal loss cannot be expressed in transformers: use format=torch"):
        state_of(focal, {})
    with pytest.raises(ConfigError, match="padding has the id 1 in the tokenizer and 5 in the model"):
        write_transformers_model(loaded(roberta(pad=5)), tmp_path)
