"""Logits equal those of `transformers` on random configurations, in both directions; tied weights stay tied."""

import pytest
import torch

from trimer.errors import CheckpointError, ConfigError
from trimer.flat import Flat
from trimer.models.bart import Bart
from trimer.models.convert.bart_weights import (
    bart_arguments,
    bart_from_huggingface,
    bart_to_huggingface,
    load_bart,
    save_bart,
)

transformers = pytest.importorskip("transformers")

SOURCES = [[0, 5, 9, 30, 2], [0, 2], [0, 11, 12, 13, 14, 15, 16, 17, 2]]
TARGETS = [[0, 7, 8], [0, 4, 5, 6, 20, 21, 2], [0]]

# Encoder and decoder: layers, heads, feed-forward width; then width, scaled embedding, activation.
GRID = [
    (1, 1, 24, 1, 2, 40, 16, False, "gelu"),
    (2, 4, 32, 1, 2, 16, 32, True, "gelu"),
    (1, 2, 64, 3, 8, 20, 64, False, "relu"),
    (3, 6, 48, 2, 3, 96, 48, True, "silu"),
    (2, 2, 30, 2, 1, 50, 24, False, "gelu_new"),
    (4, 8, 128, 4, 4, 128, 64, True, "tanh"),
]
NAMES = ["encoder_layers", "encoder_heads", "encoder_ffn", "decoder_layers", "decoder_heads", "decoder_ffn"]
GRID = [dict(zip([*NAMES, "d_model", "scale_embedding", "activation"], values, strict=True)) for values in GRID]


def padded(sequences: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sequences], batch_first=True, padding_value=1)
    lengths = torch.tensor([len(s) for s in sequences])
    return rows, (torch.arange(rows.shape[1]) < lengths[:, None]).long()


def their_logits(model) -> torch.Tensor:
    sources, mask = padded(SOURCES)
    targets, _ = padded(TARGETS)
    logits = model(input_ids=sources, attention_mask=mask, decoder_input_ids=targets).logits
    return torch.cat([row[: len(target)] for row, target in zip(logits, TARGETS, strict=True)])


def big_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Weights far from their small start, so that a swapped projection cannot hide in the tolerance."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize("settings", GRID)
@torch.no_grad()
def test_conversion_to_huggingface_and_back_keeps_logits(settings):
    net = big_weights(Bart(vocab_size=40, max_positions=32, **settings))
    state, config = bart_to_huggingface(net)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config)).eval()
    model.load_state_dict(state)
    ours = net(Flat.pack(SOURCES), Flat.pack(TARGETS))
    torch.testing.assert_close(ours, their_logits(model), atol=1e-5, rtol=1e-5)

    arguments, again = bart_from_huggingface(model.state_dict(), model.config.to_dict())
    assert arguments == bart_arguments(net)
    assert all(torch.equal(again[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("settings", GRID)
@torch.no_grad()
def test_conversion_from_huggingface_keeps_logits(settings):
    _, config = bart_to_huggingface(Bart(vocab_size=40, max_positions=32, **settings))
    model = big_weights(transformers.BartForConditionalGeneration(transformers.BartConfig(**config)))
    arguments, state = bart_from_huggingface(model.state_dict(), model.config.to_dict())
    net = Bart(**arguments).eval()
    net.load_state_dict(state)
    torch.testing.assert_close(net(Flat.pack(SOURCES), Flat.pack(TARGETS)), their_logits(model), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_folders_are_read_and_written(tmp_path):
    net = big_weights(Bart(vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=2, encoder_heads=2))
    model = transformers.BartForConditionalGeneration.from_pretrained(save_bart(net, tmp_path / "ours")).eval()
    assert model.lm_head.weight.data_ptr() == model.model.shared.weight.data_ptr()
    assert model.model.encoder.embed_tokens.weight.data_ptr() == model.model.shared.weight.data_ptr()
    expected = net(Flat.pack(SOURCES), Flat.pack(TARGETS))
    torch.testing.assert_close(expected, their_logits(model), atol=1e-5, rtol=1e-5)

    model.save_pretrained(tmp_path / "theirs")
    back = load_bart(tmp_path / "theirs").eval()
    assert torch.equal(back(Flat.pack(SOURCES), Flat.pack(TARGETS)), expected)
    # one table: a change of it moves the embedding and the output alike
    assert sum(p.numel() == 40 * 16 for p in back.parameters()) == 1


def test_a_bare_model_has_no_output_bias():
    model = transformers.BartModel(transformers.BartConfig(**bart_to_huggingface(Bart(vocab_size=40, d_model=16))[1]))
    arguments, state = bart_from_huggingface(model.state_dict(), model.config.to_dict())
    Bart(**arguments).load_state_dict(state)
    assert not state["final_logits_bias"].any()


def test_unsupported_weights_raise_errors(tmp_path):
    state, config = bart_to_huggingface(Bart(vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1))
    with pytest.raises(ConfigError, match="tie_word_embeddings"):
        bart_from_huggingface(state, {**config, "tie_word_embeddings": False})
    with pytest.raises(ConfigError, match="tied"):
        bart_from_huggingface({**state, "lm_head.weight": state["lm_head.weight"] + 1}, config)
    with pytest.raises(ConfigError, match="activation_function=quick"):
        bart_from_huggingface(state, {**config, "activation_function": "quick"})
    with pytest.raises(CheckpointError, match=r"lack encoder\.layers\.0\.fc1\.weight"):
        bart_from_huggingface({k: v for k, v in state.items() if "encoder.layers.0.fc1.weight" not in k}, config)
    with pytest.raises(CheckpointError, match=r"does not have these weights: encoder\.odd"):
        bart_from_huggingface({**state, "model.encoder.odd": torch.zeros(1)}, config)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_bart(tmp_path)
