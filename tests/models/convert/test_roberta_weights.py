"""Logits equal those of `transformers` on random configurations, in both directions, with extra keys in files."""

import json

import pytest
import torch

from trimer.errors import CheckpointError, ConfigError, InputError
from trimer.flat import Flat
from trimer.models.convert.roberta_weights import (
    load_roberta,
    roberta_from_huggingface,
    roberta_task_head,
    roberta_to_huggingface,
    save_roberta,
)
from trimer.models.roberta import Roberta

transformers = pytest.importorskip("transformers")

VOCABULARY = 30
# With masks, of two tokens, long.
SEQUENCES = [[0, 5, 4, 9, 4, 20, 2], [0, 2], [0, *range(3, 30), 7, 2], [0, 4, 4, 2]]
GRID = [
    {"layers": 2, "heads": 2, "d_model": 32, "ffn": 64, "max_positions": 34, "eps": 1e-12},
    {"layers": 3, "heads": 4, "d_model": 48, "ffn": 50, "max_positions": 40, "eps": 1e-5},
    {"layers": 1, "heads": 1, "d_model": 16, "ffn": 64, "max_positions": 37, "eps": 1e-2, "pad": 3},
]


def big_weights(net: torch.nn.Module) -> torch.nn.Module:
    """Random biases and norms too, so that a swapped weight cannot hide in the tolerance."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            shift = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + shift)
    return net.eval()


def padded(pad: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [torch.tensor(s) for s in SEQUENCES]
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad), mask


def without(pad: int) -> list[list[int]]:
    """The sequences without the padding token, which would get the position of padding."""
    return [[29 if token == pad else token for token in sequence] for sequence in SEQUENCES]


def configuration(**settings):
    names = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "d_model": "hidden_size",
             "ffn": "intermediate_size", "max_positions": "max_position_embeddings", "eps": "layer_norm_eps",
             "pad": "pad_token_id"}  # fmt: skip
    theirs = {names.get(key, key): value for key, value in settings.items()}
    return transformers.RobertaConfig(vocab_size=VOCABULARY, type_vocab_size=1, **theirs)


def ours(state, config) -> Roberta:
    arguments, weights = roberta_from_huggingface(state, config.to_dict())
    net = Roberta(**arguments).eval()
    net.load_state_dict(weights)
    return net


@pytest.mark.parametrize("settings", GRID)
@torch.no_grad()
def test_conversion_from_huggingface_keeps_logits(settings):
    config = configuration(**settings)
    model = big_weights(transformers.RobertaForMaskedLM(config))
    net = ours(model.state_dict(), config)
    assert {m.eps for m in net.modules() if isinstance(m, torch.nn.LayerNorm)} == {settings["eps"]}
    sequences = without(config.pad_token_id)
    packed = net(Flat.pack(sequences)).split([len(s) for s in sequences])
    for sequence, result in zip(sequences, packed, strict=True):
        theirs = model(input_ids=torch.tensor([sequence])).logits[0]
        assert theirs.abs().max() > 0.3
        assert (net(Flat.pack([sequence])) - theirs).abs().max() <= 1e-5
        assert (result - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("settings", GRID)
@torch.no_grad()
def test_conversion_to_huggingface_keeps_logits(settings):
    net = big_weights(Roberta(VOCABULARY, **settings))
    state, config = roberta_to_huggingface(net)
    model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**config)).eval()
    model.load_state_dict(state)
    rows, mask = padded(net.pad)
    rows = torch.where(mask.bool() & (rows == net.pad), 29, rows)
    logits = model(input_ids=rows, attention_mask=mask).logits
    sequences = without(net.pad)
    expected = torch.cat([row[: len(s)] for row, s in zip(logits, sequences, strict=True)])
    assert (net(Flat.pack(sequences)) - expected).abs().max() <= 1e-5
    states = model(input_ids=rows, attention_mask=mask, output_hidden_states=True).hidden_states
    for layer, theirs in enumerate(states):
        expected = torch.cat([row[: len(s)] for row, s in zip(theirs, sequences, strict=True)])
        torch.testing.assert_close(net.hidden(Flat.pack(sequences), layer), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_folders_are_written_and_read_back(tmp_path):
    net = big_weights(Roberta(VOCABULARY, **GRID[0], dropout=0.25, attention_dropout=0.05))
    save_roberta(net, tmp_path)
    model = transformers.RobertaForMaskedLM.from_pretrained(tmp_path).eval()
    assert model.lm_head.decoder.weight.data_ptr() == model.roberta.embeddings.word_embeddings.weight.data_ptr()
    assert torch.equal(model.lm_head.decoder.bias, net.head.bias)
    model.save_pretrained(tmp_path / "theirs")
    for folder in (tmp_path, tmp_path / "theirs"):
        again = load_roberta(folder)
        assert (again.dropout, again.attention_dropout, again.longest) == (0.25, 0.05, 32)
        assert again.state_dict().keys() == net.state_dict().keys()
        assert all(torch.equal(value, net.state_dict()[key]) for key, value in again.state_dict().items())


@torch.no_grad()
def test_extra_keys_of_older_files_are_ignored(tmp_path):
    config = configuration(**GRID[0])
    model = big_weights(transformers.RobertaForMaskedLM(config))
    state = {
        **model.state_dict(),
        "roberta.embeddings.position_ids": torch.arange(34)[None],
        "roberta.pooler.dense.weight": torch.randn(32, 32),
        "roberta.pooler.dense.bias": torch.randn(32),
    }
    assert {"lm_head.decoder.weight", "lm_head.decoder.bias", "lm_head.bias"} <= state.keys()
    torch.save(state, tmp_path / "pytorch_model.bin")
    old = {key: value for key, value in config.to_dict().items() if key != "position_embedding_type"}
    (tmp_path / "config.json").write_text(json.dumps({**old, "gradient_checkpointing": False}))
    net = load_roberta(tmp_path).eval()
    theirs = model(input_ids=torch.tensor(SEQUENCES[:1])).logits[0]
    assert (net(Flat.pack(SEQUENCES[:1])) - theirs).abs().max() <= 1e-5
    for absent in ("lm_head.decoder.bias", "lm_head.bias", "lm_head.decoder.weight"):  # one of each pair is enough
        fewer = {key: value for key, value in state.items() if key != absent}
        weights = roberta_from_huggingface(fewer, old)[1]
        assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("prefix", ["classifier", "regression"])
@torch.no_grad()
def test_task_heads_are_read_separately(prefix):
    config = configuration(**GRID[0], num_labels=5)
    model = big_weights(transformers.RobertaForSequenceClassification(config))
    state = {key.replace("classifier.", f"{prefix}."): value for key, value in model.state_dict().items()}
    scale = {"norm_mean": torch.ones(5), "norm_std": torch.full((5,), 2.0)} if prefix == "regression" else {}
    net, head = ours(state | scale, config), roberta_task_head(state | scale)
    assert net.head is None and not any(key.startswith("head.") for key in net.state_dict())
    assert head.keys() == {"dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias", *scale}
    batch = Flat.pack(SEQUENCES)
    first = net.hidden(batch)[batch.offsets()[:-1].long()]  # <s>
    inner = torch.tanh(first @ head["dense.weight"].T + head["dense.bias"])
    logits = inner @ head["out_proj.weight"].T + head["out_proj.bias"]
    rows, mask = padded()
    expected = model(input_ids=rows, attention_mask=mask).logits
    assert expected.abs().max() > 0.1 and expected.shape == (4, 5)
    assert (logits - expected).abs().max() <= 1e-5
    with pytest.raises(ConfigError, match=r"no head for masked tokens: build it with model\.head=true"):
        net(batch)


@torch.no_grad()
def test_task_heads_are_written_back(tmp_path):
    config = configuration(**GRID[1], num_labels=3)
    model = big_weights(transformers.RobertaForSequenceClassification(config))
    state = model.state_dict()
    save_roberta(ours(state, config), tmp_path, roberta_task_head(state))
    again = transformers.RobertaForSequenceClassification.from_pretrained(tmp_path).eval()
    rows, mask = padded()
    assert torch.equal(again(rows, mask).logits, model(rows, mask).logits)


@torch.no_grad()
def test_encoders_without_a_head_are_written_and_read_back(tmp_path):
    config = configuration(**GRID[0])
    model = big_weights(transformers.RobertaModel(config))  # with a pooler, which is passed over
    net = ours(model.state_dict(), config)
    assert net.head is None and roberta_task_head(model.state_dict()) == {}
    theirs = model(input_ids=torch.tensor(SEQUENCES[2:3])).last_hidden_state[0]
    assert (net.hidden(Flat.pack(SEQUENCES[2:3])) - theirs).abs().max() <= 1e-5
    save_roberta(net, tmp_path)
    again = transformers.RobertaModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    torch.testing.assert_close(again(torch.tensor(SEQUENCES[2:3])).last_hidden_state[0], theirs)


@torch.no_grad()
def test_maximum_length_equals_that_of_huggingface():
    config = configuration(**GRID[0])
    model = big_weights(transformers.RobertaForMaskedLM(config))
    net = ours(model.state_dict(), config)
    assert net.longest == 32
    longest = [0, *[7] * 30, 2]
    assert (net(Flat.pack([longest])) - model(torch.tensor([longest])).logits[0]).abs().max() <= 1e-5
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.tensor([[*longest, 2]]))
    with pytest.raises(InputError, match=r"a sequence of 33 tokens is longer than the 32 .*model\.max_positions"):
        net(Flat.pack([longest, [*longest, 2]]))


def test_unsupported_weights_raise_errors():
    state, config = roberta_to_huggingface(Roberta(VOCABULARY, **GRID[0]))
    for key, value in {"hidden_act": "relu", "type_vocab_size": 2, "model_type": "bert", "is_decoder": True}.items():
        with pytest.raises(ConfigError, match=f"{key}={value} in the configuration cannot be converted"):
            roberta_from_huggingface(state, {**config, key: value})
    with pytest.raises(ConfigError, match="it lacks hidden_size"):
        roberta_from_huggingface(state, {key: value for key, value in config.items() if key != "hidden_size"})
    for key in ("roberta.encoder.layer.1.output.dense.bias", "lm_head.dense.weight"):
        with pytest.raises(CheckpointError, match=f"lack {key.removeprefix('roberta.')}"):
            roberta_from_huggingface({k: v for k, v in state.items() if k != key}, config)
    with pytest.raises(CheckpointError, match=r"lack lm_head\.bias"):
        roberta_from_huggingface(
            {k: v for k, v in state.items() if k not in ("lm_head.bias", "lm_head.decoder.bias")}, config
        )
    with pytest.raises(CheckpointError, match=r"lack embeddings\.word_embeddings\.weight"):
        roberta_from_huggingface({}, config)
    with pytest.raises(CheckpointError, match="does not have these weights: stray"):
        roberta_from_huggingface({**state, "stray": torch.zeros(1)}, config)
    with pytest.raises(ConfigError, match=r"lm_head\.decoder\.bias of these weights differ"):
        roberta_from_huggingface({**state, "lm_head.decoder.bias": torch.ones(VOCABULARY)}, config)
    with pytest.raises(CheckpointError, match=r"lacks out_proj\.weight, out_proj\.bias"):
        roberta_task_head({"classifier.dense.weight": torch.zeros(2, 2), "classifier.dense.bias": torch.zeros(2)})
