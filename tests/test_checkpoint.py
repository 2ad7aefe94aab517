"""Files that are no checkpoints of Trimer raise an error of one sentence that names the file."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from trimer.checkpoint import KEYS, check_labels, contract, copy_weights, load, network_state, read, warm_start
from trimer.errors import CheckpointError, ConfigError
from trimer.tokenizers.bpe import SPECIALS, BytePairTokenizer

CONTRACT = {"format": 1, **{key: {} for key in KEYS[1:]}, "kind": "trimer.tasks.masked_lm.MaskedLM"}


class Foreign:
    """An object that only Python's pickle can store."""


def test_a_pickle_with_other_than_plain_values_is_rejected(tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save({"trimer": CONTRACT, "state_dict": {}, "odd": Foreign()}, path)
    pickled = tmp_path / "pickled.ckpt"
    pickled.write_bytes(pickle.dumps(Foreign()))
    for file in (path, pickled):
        with pytest.raises(CheckpointError, match="holds more than tensors and plain values") as caught:
            read(file)
        assert str(file) in str(caught.value) and "weights_only" not in str(caught.value)


def test_files_that_are_not_checkpoints_are_rejected(tmp_path):
    whole = tmp_path / "whole.ckpt"
    torch.save({"trimer": CONTRACT, "state_dict": {"net.weight": torch.zeros(999)}}, whole)
    for content, words in (
        (b"", "is not a checkpoint"),
        (b"text", "is not a checkpoint"),
        (whole.read_bytes()[:900], "damaged"),
    ):
        path = tmp_path / "odd.ckpt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"odd\.ckpt .*{words}"):
            read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "not of Trimer"),
        ({"state_dict": {}}, "not of Trimer"),
        ({"trimer": "1", "state_dict": {}}, "not of Trimer"),
        ({"trimer": {**CONTRACT, "format": 99}, "state_dict": {}}, "update Trimer"),
        ({"trimer": CONTRACT}, "it lacks state_dict"),
        ({"trimer": {"vocabulary": []}, "state_dict": {}}, "it lacks format, kind"),
    ],
)
def test_incomplete_contracts_are_rejected(tmp_path, content, words):
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"a\.ckpt .*{words}"):
        read(path)


def test_weights_of_another_shape_are_named():
    checkpoint = {"state_dict": {"net.weight": torch.zeros(3, 2), "net.odd": torch.zeros(1)}}
    with pytest.raises(
        CheckpointError, match=r"a\.ckpt does not fit model=Linear: bias is missing; odd is not .* \(3, 2\)"
    ):
        copy_weights(nn.Linear(2, 2), network_state(checkpoint), "a.ckpt")


def test_training_starts_from_public_weights(tmp_path):
    from trimer.models.bart import Bart
    from trimer.models.convert.bart_weights import save_bart
    from trimer.models.convert.esm2_weights import save_esm2
    from trimer.models.esm2 import Esm2

    shape = {"d_model": 16, "layers": 1, "heads": 1}
    public, net = Esm2(**shape, contacts=True), Esm2(**shape)
    warm_start(net, None, save_esm2(public, tmp_path / "esm2"))
    assert all(torch.equal(value, public.state_dict()[key]) for key, value in net.state_dict().items())
    with pytest.raises(CheckpointError, match=r"does not fit model=Esm2: .*this model has \(33, 32\)"):
        warm_start(Esm2(d_model=32, layers=1, heads=1), None, tmp_path / "esm2")
    with pytest.raises(CheckpointError, match=r"was trained with model\.heads=1, but this model has 2"):
        warm_start(Esm2(d_model=16, layers=1, heads=2), None, tmp_path / "esm2")
    shape = {"vocab_size": 20, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    public, net = Bart(**shape), Bart(**shape)
    warm_start(net, None, save_bart(public, tmp_path / "bart"))
    assert all(torch.equal(value, public.state_dict()[key]) for key, value in net.state_dict().items())
    with pytest.raises(CheckpointError, match="public weights are known for BART, ESM2 and RoBERTa, not for Linear"):
        warm_start(nn.Linear(2, 2), None, tmp_path / "bart")


def test_weights_with_another_number_of_heads_are_rejected(tmp_path):
    """No weight shape depends on the number of heads, so the weights would load."""
    from trimer.models.esm2 import Esm2
    from trimer.tokenizers.protein import ProteinTokenizer

    tokenizer, trained = ProteinTokenizer(), Esm2(d_model=16, layers=1, heads=2)
    contract = {**CONTRACT, "vocabulary": list(tokenizer.vocabulary.tokens), "model": {"d_model": 16, "heads": 2}}
    state = {f"net.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"trimer": contract, "state_dict": state}, tmp_path / "a.ckpt")
    warm_start(Esm2(d_model=16, layers=1, heads=2), tokenizer, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt was trained with model\.heads=2, but this model has"):
        warm_start(Esm2(d_model=16, layers=1, heads=4), tokenizer, tmp_path / "a.ckpt")


def test_training_starts_from_public_roberta_weights(tmp_path):
    from trimer.models.convert.roberta_weights import save_roberta
    from trimer.models.roberta import Roberta

    shape = {"vocab_size": 20, "d_model": 16, "layers": 1, "heads": 2, "eps": 1e-5}
    public, net, bare = Roberta(**shape), Roberta(**shape), Roberta(**shape, head=False)
    warm_start(net, None, save_roberta(public, tmp_path / "masked"))
    assert all(torch.equal(value, public.state_dict()[key]) for key, value in net.state_dict().items())
    warm_start(bare, None, tmp_path / "masked")
    assert all(torch.equal(value, public.state_dict()[key]) for key, value in bare.state_dict().items())
    for name, other, words in (("eps", 1e-12, "1e-05"), ("heads", 4, "2"), ("pad", 0, "1")):
        with pytest.raises(CheckpointError, match=rf"was trained with model\.{name}={words}, but this model has"):
            warm_start(Roberta(**{**shape, name: other}), None, tmp_path / "masked")
    save_roberta(bare, tmp_path / "bare")
    with pytest.raises(CheckpointError, match=r"no head for masked tokens: set model\.head=false"):
        warm_start(net, None, tmp_path / "bare")


def test_a_checkpoint_rebuilds_a_roberta_and_its_tokenizer(tmp_path):
    from trimer.models.roberta import Roberta

    tokenizer = BytePairTokenizer(tokens=[*SPECIALS.values(), "C", "O", "CC"], merges=["C C"])
    shape = {"d_model": 16, "layers": 1, "heads": 2, "eps": 1e-5}
    net = Roberta(len(tokenizer), **shape)
    config = {
        "task": {"_target_": "trimer.tasks.masked_lm.MaskedLM"},
        "data": {},
        "model": {"_target_": "trimer.models.roberta.Roberta", **shape},
    }
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"trimer": contract(config, tokenizer), "state_dict": state}, tmp_path / "a.ckpt")
    loaded = load(tmp_path / "a.ckpt")
    assert loaded.tokenizer.encode("CCCO").tolist() == tokenizer.encode("CCCO").tolist() == [0, 7, 5, 6, 2]
    assert loaded.net.eps == 1e-5
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in loaded.net.state_dict().items())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "was trained on labels with data.target=single, these data have none"),
        (
            {"target": "multi", "classes": ["a", "b"]},
            "was trained on labels with data.target=single, these data have multi",
        ),
        ({"target": "single", "classes": ["b", "a"]}, "number 1 is 'a' in the checkpoint and 'b' in the data"),
        (
            {"target": "single", "classes": ["a"]},
            "was trained on 2 labels, these data have 1: number 2 is 'b' in the checkpoint",
        ),
        ({"target": "single", "classes": ["a", "b", "c"]}, "number 3 is 'none' in the checkpoint and 'c' in the data"),
    ],
)
def test_labels_of_another_type_name_or_order_are_rejected(labels, message):
    learnt = {"labels": {"target": "single", "classes": ["a", "b"]}}
    with pytest.raises(CheckpointError, match=message):
        check_labels(learnt, labels, "best.ckpt")
    check_labels(learnt, dict(learnt["labels"]), "best.ckpt")
    check_labels({}, labels, "best.ckpt")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"d_model": 10_000_000}, "describes a model with more than 1.* numbers, but holds 48 numbers in 1 tensors"),
        ({"layers": 100_000_000}, "describes a model with more than .* modules"),
        ({"_target_": "trimer.loggers.CSV", "folder": "x"}, "model: trimer.loggers.CSV is for logger"),
    ],
)
def test_a_model_that_is_much_larger_than_its_weights_is_not_built(tmp_path, changes, sentence):
    tokenizer = BytePairTokenizer(tokens=[*SPECIALS.values(), "C"], merges=[])
    model = {"_target_": "trimer.models.roberta.Roberta", "d_model": 8, "layers": 1, "heads": 2}
    config = {"model": model, "task": {"_target_": "trimer.tasks.masked_lm.MaskedLM"}, "data": {}}
    stored = contract(config, tokenizer) | {"model": changes if "_target_" in changes else {**model, **changes}}
    torch.save({"trimer": stored, "state_dict": {"net.tokens": torch.zeros(6, 8)}}, tmp_path / "large.ckpt")
    with pytest.raises((CheckpointError, ConfigError), match=sentence):
        load(tmp_path / "large.ckpt")
