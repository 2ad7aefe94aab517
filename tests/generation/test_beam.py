"""Beam search finds the same hypotheses as `transformers`, in any batch."""

import pytest
import torch

from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.generation.beam import beam_search
from trimer.models.bart import Bart
from trimer.models.convert.bart_weights import bart_to_huggingface

V = 30
SOURCES = [[0, 5, 9, 29, 2], [0, 2, 7, 7], list(range(5, 28)) * 4, [0, 11, 12, 13, 14, 15, 16, 17, 2]]


def net_of(seed: int, **settings) -> Bart:
    """Random weights large enough that sequences end, and differ in length."""
    torch.manual_seed(seed)
    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn": 48, "decoder_ffn": 64}
    net = Bart(**{"vocab_size": V, "max_positions": 128, "encoder_heads": 2, "decoder_heads": 4, **shape, **settings})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(8.0 if parameter.dim() > 1 else 1.0)
        net.final_logits_bias[2] = 2.0
    return net.eval()


def theirs(net: Bart, sources: list[list[int]], **settings):
    transformers = pytest.importorskip("transformers")
    state, config = bart_to_huggingface(net)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config)).eval()
    model.load_state_dict(state)
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sources], batch_first=True, padding_value=1)
    mask = torch.arange(rows.shape[1]) < torch.tensor([len(s) for s in sources])[:, None]
    beams = settings["num_beams"]
    out = model.generate(
        input_ids=rows,
        attention_mask=mask.long(),
        do_sample=False,
        num_return_sequences=beams,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    sequences = []
    for row in out.sequences[:, 1:].tolist():
        stop = row.index(2) + 1 if 2 in row else len(row)
        sequences.append(row[:stop])
    scores = out.sequences_scores.tolist()
    pairs = list(zip(sequences, scores, strict=True))
    return [pairs[i * beams : (i + 1) * beams] for i in range(len(sources))]


@pytest.mark.parametrize(
    ("seed", "beams", "length_penalty", "max_length"),
    [
        (0, 5, 1.0, 40),
        (1, 10, 1.0, 24),
        (2, 4, 0.0, 40),
        (3, 3, 2.0, 20),
        (4, 1, 1.0, 9),
    ],
)
def test_same_hypotheses_and_scores_as_transformers(seed, beams, length_penalty, max_length):
    net = net_of(seed, scale_embedding=seed % 2 == 1)
    expected = (
        theirs(
            net,
            SOURCES,
            num_beams=beams,
            length_penalty=length_penalty,
            max_length=max_length,
        )
        if beams > 1
        else None
    )
    results = beam_search(
        net,
        Flat.pack(SOURCES),
        beams,
        length_penalty=length_penalty,
        max_length=max_length,
    )
    assert len(results) == len(SOURCES)
    for i, ours in enumerate(results):
        assert [h.score for h in ours] == sorted((h.score for h in ours), reverse=True)
        for h in ours:
            assert h.log_likelihood == pytest.approx(likelihood(net, SOURCES[i], h.tokens), abs=1e-3)
            assert h.score == pytest.approx(h.log_likelihood / len(h.tokens) ** length_penalty, abs=1e-5)
        if expected is not None:
            assert [h.tokens for h in ours] == [tokens for tokens, _ in expected[i]]
            assert [h.score for h in ours] == pytest.approx([score for _, score in expected[i]], abs=1e-4)


@torch.no_grad()
def likelihood(net: Bart, source: list[int], tokens: list[int]) -> float:
    """By one full forward pass, without a cache."""
    logits = net(Flat.pack([source]), Flat.pack([[0, *tokens[:-1]]]))
    return float(torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens)[:, None]).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_do_not_depend_on_batch_and_order(dtype):
    net = net_of(1)
    together = beam_search(net, Flat.pack(SOURCES), 4, max_length=30, dtype=dtype)
    reversed_batch = beam_search(net, Flat.pack(SOURCES[::-1]), 4, max_length=30, dtype=dtype)[::-1]
    for i, source in enumerate(SOURCES):
        alone = beam_search(net, Flat.pack([source]), 4, max_length=30, dtype=dtype)[0]
        for batched, reordered, single in zip(together[i], reversed_batch[i], alone, strict=True):
            assert batched.tokens == reordered.tokens == single.tokens
            assert batched.score == pytest.approx(reordered.score, abs=1e-5) == pytest.approx(single.score, abs=1e-5)


def test_only_allowed_tokens_are_generated():
    results = beam_search(net_of(2), Flat.pack(SOURCES), 3, max_length=20, allowed_tokens=(8, 15))
    assert {token for beams in results for h in beams for token in h.tokens} <= {2, *range(8, 15)}


def test_invalid_arguments_raise_errors():
    with pytest.raises(ConfigError, match=r"max_length=500 must be 2 to 128"):
        beam_search(net_of(0), Flat.pack(SOURCES), 3, max_length=500)


def test_weights_that_are_not_finite_raise_an_error():
    net = net_of(0)
    torch.nn.init.constant_(net.decoder[1].feed_forward.up.weight, float("nan"))
    with pytest.raises(InputError, match="the training diverged"):
        beam_search(net, Flat.pack(SOURCES), 3, max_length=10)
