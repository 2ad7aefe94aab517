"""Logits equal those of `transformers` and of fair-esm on random configurations, in both directions."""

import argparse

import pytest
import torch

from trimer.errors import CheckpointError, ConfigError
from trimer.flat import Flat
from trimer.models.convert.esm2_weights import (
    esm2_from_fair,
    esm2_from_huggingface,
    esm2_to_fair,
    esm2_to_huggingface,
    load_esm2,
    save_esm2,
)
from trimer.models.esm2 import Esm2

transformers = pytest.importorskip("transformers")
fair = pytest.importorskip("esm", reason="fair-esm")

# Masked, unmasked, of one residue, all masked but for the ends, with unknown letters.
SEQUENCES = [[0, 5, 32, 9, 32, 20, 2], [0, 4, 4, 7, 11, 23, 22, 21, 15, 3, 25, 2], [0, 6, 2], [0, 32, 32, 2]]
GRID = [
    {"layers": 2, "heads": 2, "d_model": 32, "ffn": 128},
    {"layers": 3, "heads": 5, "d_model": 80, "ffn": 64},  # heads 16 wide, as in the 8M model
    {"layers": 1, "heads": 2, "d_model": 48, "ffn": 100},  # 24, as in 35M
    {"layers": 2, "heads": 1, "d_model": 64, "ffn": 256, "token_dropout": False},
]


def big_weights(net: torch.nn.Module) -> torch.nn.Module:
    """Random biases and norms too, so that a swapped weight cannot hide in the tolerance."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            shift = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05 + shift)
    return net.eval()


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in SEQUENCES], batch_first=True, padding_value=1)
    return rows, (rows != 1).long()


def huggingface(net: Esm2, attention: str):
    state, config = esm2_to_huggingface(net)
    model = transformers.EsmForMaskedLM(transformers.EsmConfig(**config, attn_implementation=attention)).eval()
    if net.contact_head is None:
        model.esm.contact_head = None
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and not [key for key in missing.missing_keys if "inv_freq" not in key]
    return model


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("settings", GRID)
@torch.no_grad()
def test_logits_equal_huggingface_padded_and_single(settings, attention):
    net = big_weights(Esm2(**settings))
    model = huggingface(net, attention)
    ours = net(Flat.pack(SEQUENCES)).split([len(s) for s in SEQUENCES])
    rows, mask = padded()
    together = model(input_ids=rows, attention_mask=mask).logits
    for sequence, mine, theirs in zip(SEQUENCES, ours, together, strict=True):
        alone = model(input_ids=torch.tensor([sequence]), attention_mask=torch.ones(1, len(sequence))).logits[0]
        assert alone.abs().max() > 0.2
        assert (mine - alone).abs().max() <= 1e-6
        assert (mine - theirs[: len(sequence)]).abs().max() <= 1e-6


@torch.no_grad()
def test_conversion_from_huggingface_keeps_logits():
    config = transformers.EsmConfig(
        vocab_size=33, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        position_embedding_type="rotary", token_dropout=True, mask_token_id=32, pad_token_id=1, layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, emb_layer_norm_before=False,
        attn_implementation="eager",
    )  # fmt: skip
    model = big_weights(transformers.EsmForMaskedLM(config))
    arguments, state = esm2_from_huggingface(model.state_dict(), config.to_dict())
    net = Esm2(**arguments).eval()
    net.load_state_dict(state)
    rows, mask = padded()
    theirs = model(input_ids=rows, attention_mask=mask)
    expected = torch.cat([row[: len(s)] for row, s in zip(theirs.logits, SEQUENCES, strict=True)])
    torch.testing.assert_close(net(Flat.pack(SEQUENCES)), expected, atol=1e-6, rtol=0)
    contacts = net.contacts(Flat.pack(SEQUENCES[:2]))
    for sequence, ours in zip(SEQUENCES, contacts, strict=False):
        alone = model.predict_contacts(torch.tensor([sequence]), torch.ones(1, len(sequence)))[0]
        torch.testing.assert_close(ours, alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("settings", GRID[:3])
@torch.no_grad()
def test_logits_equal_fair_esm_and_its_files_are_read(settings, tmp_path):
    net = big_weights(Esm2(**settings, contacts=True))
    model = fair.model.esm2.ESM2(settings["layers"], settings["d_model"], settings["heads"], "ESM-1b").eval()
    if settings["ffn"] != 4 * settings["d_model"]:  # theirs are always four times as wide
        net = big_weights(Esm2(**{**settings, "ffn": 4 * settings["d_model"]}, contacts=True))
    state = esm2_to_fair(net)
    assert not [key for key in model.load_state_dict(state, strict=False).missing_keys if "inv_freq" not in key]
    rows, _ = padded()
    out = model(rows, return_contacts=True)
    ours = net(Flat.pack(SEQUENCES)).split([len(s) for s in SEQUENCES])
    for sequence, mine, theirs in zip(SEQUENCES, ours, out["logits"], strict=True):
        assert (mine - theirs[: len(sequence)]).abs().max() <= 1e-6
    torch.testing.assert_close(net.contacts(Flat.pack(SEQUENCES[1:2]))[0], out["contacts"][1], atol=1e-6, rtol=1e-6)

    cfg = argparse.Namespace(encoder_attention_heads=settings["heads"], token_dropout=True)
    trunk = {f"encoder.sentence_encoder.{k}": v for k, v in state.items() if not k.startswith(("lm_head", "contact"))}
    heads = {f"encoder.{key}": value for key, value in state.items() if key.startswith("lm_head")}
    regression = {key: value for key, value in state.items() if key.startswith("contact")}
    torch.save({"cfg": {"model": cfg}, "model": trunk | heads}, tmp_path / "esm2_tiny.pt")
    torch.save({"model": regression}, tmp_path / "esm2_tiny-contact-regression.pt")
    again = load_esm2(tmp_path / "esm2_tiny.pt").eval()
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True))


@torch.no_grad()
def test_folders_are_written_and_read_back(tmp_path):
    net = big_weights(Esm2(d_model=32, layers=2, heads=2, contacts=True))
    save_esm2(net, tmp_path)
    model = transformers.EsmForMaskedLM.from_pretrained(tmp_path).eval()
    assert model.lm_head.decoder.weight.data_ptr() == model.esm.embeddings.word_embeddings.weight.data_ptr()
    rows, mask = padded()
    expected = [row[: len(s)] for row, s in zip(model(rows, mask).logits, SEQUENCES, strict=True)]
    torch.testing.assert_close(net(Flat.pack(SEQUENCES)), torch.cat(expected), atol=1e-6, rtol=0)
    again = load_esm2(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True))
    model.save_pretrained(tmp_path / "theirs")
    theirs = load_esm2(tmp_path / "theirs").state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in net.state_dict().items())


def test_folders_of_new_transformers_models_are_read(tmp_path):
    _, config = esm2_to_huggingface(Esm2(d_model=32, layers=2, heads=2))
    model = big_weights(transformers.EsmForMaskedLM(transformers.EsmConfig(**config)))
    model.save_pretrained(tmp_path)  # transformers 5 calls the weights of some norms gamma and beta here
    _, state = esm2_from_huggingface(model.state_dict(), config)
    ours = load_esm2(tmp_path).state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in state.items())


def test_extra_keys_of_older_files_are_ignored():
    """Rotary frequencies that half precision rounded, above all: 2 % of the logits."""
    net = Esm2(d_model=32, layers=1, heads=2)
    state, config = esm2_to_huggingface(net)
    rounded = (10_000 ** -(torch.arange(0, 16, 2) / 16)).half().float()
    older = {
        "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq": rounded,
        "esm.rotary_embeddings.inv_freq": rounded,
        "esm.embeddings.position_embeddings.weight": torch.zeros(1026, 32),
        "esm.embeddings.position_ids": torch.arange(1026)[None],
    }
    _, ours = esm2_from_huggingface({**state, **older}, config)
    assert ours.keys() == net.state_dict().keys()
    assert all(torch.equal(value, ours[key]) for key, value in net.state_dict().items())
    fair_state = {**esm2_to_fair(net), "layers.0.self_attn.rot_emb.inv_freq": rounded}
    assert esm2_from_fair(fair_state)[1].keys() == ours.keys()


@torch.no_grad()
def test_projections_without_bias_become_biases_of_zero():
    net = big_weights(Esm2(d_model=32, layers=1, heads=2, bias=False))
    rows, mask = padded()
    logits = huggingface(net, "eager")(rows, mask).logits
    expected = torch.cat([row[: len(s)] for row, s in zip(logits, SEQUENCES, strict=True)])
    torch.testing.assert_close(net(Flat.pack(SEQUENCES)), expected, atol=1e-6, rtol=0)


def test_unsupported_weights_raise_errors(tmp_path):
    net = Esm2(d_model=16, layers=1, heads=1)
    state, config = esm2_to_huggingface(net)
    with pytest.raises(ConfigError, match="layer_norm_eps=1e-12"):
        esm2_from_huggingface(state, {**config, "layer_norm_eps": 1e-12})
    with pytest.raises(ConfigError, match="position_embedding_type=absolute"):
        esm2_from_huggingface(state, {**config, "position_embedding_type": "absolute"})
    with pytest.raises(CheckpointError, match=r"lack esm\.encoder\.layer\.0\.output\.dense\.bias"):
        esm2_from_huggingface({k: v for k, v in state.items() if not k.endswith("0.output.dense.bias")}, config)
    with pytest.raises(CheckpointError, match="does not have these weights: stray"):
        esm2_from_huggingface({**state, "stray": torch.zeros(1)}, config)
    with pytest.raises(ConfigError, match=r"masked_share=0\.25 cannot be converted"):
        esm2_to_huggingface(Esm2(d_model=16, layers=1, heads=1, masked_share=0.25))

    class Bad:
        def __reduce__(self):
            return print, ("this code would run",)

    torch.save({"model": Bad()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad\.pt is not a fair-esm file .*could run code") as caught:
        load_esm2(tmp_path / "bad.pt")
    assert "weights_only" not in str(caught.value)
    (tmp_path / "empty.pt").touch()  # PyTorch's error has no text in some versions
    with pytest.raises(CheckpointError, match=r"empty\.pt is not a fair-esm file that can be read safely \(\w+"):
        load_esm2(tmp_path / "empty.pt")
