"""Samples follow the model, are exact continuations, and do not depend on the batch."""

import pytest
import torch

from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.generation.sampling import CHECK_EVERY, draw, draw_by_cumulative_sum, sample, uniform_table
from trimer.models.bart import Bart

SOURCES = [[0, 5, 9, 29, 2], [0, 2, 7, 7], list(range(5, 28)) * 4, [0, 11, 12, 13, 14, 15, 16, 17, 2]]
KEYS = [11, 7, 500, 3]


def net_of(seed: int = 0, vocab_size: int = 30) -> Bart:
    torch.manual_seed(seed)
    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn": 48, "decoder_ffn": 64}
    net = Bart(vocab_size=vocab_size, max_positions=128, encoder_heads=2, decoder_heads=4, **shape)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(6.0 if parameter.dim() > 1 else 1.0)
        net.final_logits_bias[2] = 1.0
    return net.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("top_k", "top_p", "temperature"), [(0, 1.0, 1.0), (5, 0.9, 1.5)])
def test_samples_do_not_depend_on_batch_and_order(dtype, top_k, top_p, temperature):
    net = net_of()
    settings = {"top_k": top_k, "top_p": top_p, "temperature": temperature, "max_length": 40, "dtype": dtype}
    together = sample(net, Flat.pack(SOURCES), KEYS, 6, **settings)
    reversed_batch = sample(net, Flat.pack(SOURCES[::-1]), KEYS[::-1], 6, **settings)[::-1]
    alone = [sample(net, Flat.pack([s]), [key], 6, **settings)[0] for s, key in zip(SOURCES, KEYS, strict=True)]
    tokens = [[[h.tokens for h in hypotheses] for hypotheses in way] for way in (together, reversed_batch, alone)]
    assert tokens[0] == tokens[1] == tokens[2]
    assert len({len(h.tokens) for hypotheses in together for h in hypotheses}) > 3  # rows did leave
    fewer = sample(net, Flat.pack(SOURCES), KEYS, 1, **settings)
    assert [h[0].tokens for h in fewer] == [h[0].tokens for h in together]


@torch.no_grad()
def test_tokens_follow_from_their_random_numbers_and_a_full_forward_pass():
    net, steps = net_of(), 24
    uniform = uniform_table(3, KEYS, 5, steps)
    drawn = sample(net, Flat.pack(SOURCES), KEYS, 5, seed=3, max_length=steps + 1)
    for i, hypotheses in enumerate(drawn):
        for s, h in enumerate(hypotheses):
            logits = net(Flat.pack([SOURCES[i]]), Flat.pack([[0, *h.tokens[:-1]]]))
            log_p = torch.log_softmax(logits, -1)
            edges = torch.cat([torch.zeros(len(log_p), 1), log_p.exp().cumsum(-1)], 1)
            numbers = uniform[i * 5 + s, : len(h.tokens)]
            chosen = torch.tensor(h.tokens)[:, None]
            assert (edges.gather(1, chosen).squeeze(1) <= numbers + 1e-5).all()
            assert (numbers <= edges.gather(1, chosen + 1).squeeze(1) + 1e-5).all()
            assert h.log_likelihood == pytest.approx(float(log_p.gather(1, chosen).sum()), abs=1e-3)
            assert h.tokens[-1] == 2 or len(h.tokens) == steps
            assert 2 not in h.tokens[:-1]


@pytest.mark.parametrize("width", [5, 1000])
def test_tokens_are_drawn_with_their_probability(width):
    torch.manual_seed(0)
    p = torch.softmax(torch.randn(width) * 2, -1)
    p[width // 2] = 0.0
    count = 40_000
    uniform = (torch.arange(count) + 0.5) / count  # evenly spaced: exact up to rounding
    drawn = draw_by_cumulative_sum(p.expand(count, -1), uniform).bincount(minlength=width) / count
    assert (drawn - p / p.sum()).abs().max() < 2 / count + 1e-5
    assert drawn[width // 2] == 0
    for edge in (0.0, 1.0 - 2**-24):
        assert (p[draw_by_cumulative_sum(p[None], torch.tensor([edge]))] > 0).all()


def test_temperature_top_k_and_top_p():
    scores = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(1000, -1)
    uniform = (torch.arange(1000) + 0.5) / 1000
    p = torch.softmax(scores[0], -1)

    def shares(**settings):
        choice, log_p = draw(scores, uniform, **{"temperature": 1.0, "top_k": 0, "top_p": 1.0, **settings})
        assert torch.allclose(log_p, p.log()[choice], atol=1e-5)  # always of the model itself
        return choice.bincount(minlength=4) / 1000

    assert torch.allclose(shares(), p, atol=2e-3)
    assert torch.allclose(shares(temperature=2.0), torch.softmax(scores[0] / 2, -1), atol=2e-3)
    two = torch.cat([torch.softmax(scores[0, :2], -1), torch.zeros(2)])
    assert torch.allclose(shares(top_k=2), two, atol=2e-3)
    assert torch.allclose(shares(top_p=0.8), two, atol=2e-3)  # 0.64 is too little, 0.64 + 0.24 is enough
    assert torch.allclose(shares(top_k=3, top_p=0.1), torch.tensor([1.0, 0, 0, 0]))
    assert torch.allclose(shares(top_k=99), p, atol=2e-3)


def test_only_allowed_tokens_are_drawn_from_large_vocabularies():
    drawn = sample(net_of(), Flat.pack(SOURCES), KEYS, 4, max_length=20, allowed_tokens=(8, 15))
    assert {token for hypotheses in drawn for h in hypotheses for token in h.tokens} <= {2, *range(8, 15)}
    mask = torch.zeros(700, dtype=torch.bool)
    mask[[600, 699]] = True
    drawn = sample(net_of(vocab_size=700), Flat.pack(SOURCES), KEYS, 4, max_length=20, allowed_tokens=mask)
    assert {token for hypotheses in drawn for h in hypotheses for token in h.tokens} <= {2, 600, 699}
    wide = sample(net_of(vocab_size=700), Flat.pack(SOURCES), KEYS, 4, max_length=20)
    assert max(token for hypotheses in wide for h in hypotheses for token in h.tokens) > 300


def test_autocast_sets_the_precision_and_the_seed_the_samples():
    net, source = net_of(), Flat.pack(SOURCES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        automatic = sample(net, source, KEYS, 3, max_length=30)
    stated = sample(net, source, KEYS, 3, max_length=30, dtype=torch.bfloat16)
    assert [[h.tokens for h in row] for row in automatic] == [[h.tokens for h in row] for row in stated]
    other = sample(net, source, KEYS, 3, max_length=30, dtype=torch.bfloat16, seed=1)
    assert [[h.tokens for h in row] for row in other] != [[h.tokens for h in row] for row in stated]


def test_sampling_with_half_precision_weights_and_one_short_source():
    net = net_of()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.bfloat16())
    full = sample(net, Flat.pack(SOURCES[:1]), KEYS[:1], 1, max_length=30, dtype=torch.bfloat16)
    half = sample(net.bfloat16(), Flat.pack(SOURCES[:1]), KEYS[:1], 1, max_length=30)
    assert full[0][0].tokens[:3] == half[0][0].tokens[:3]  # positions and tokens are summed in half precision there
    assert len(half[0][0].tokens) <= 29


def test_invalid_arguments_raise_errors():
    for settings, message in (
        ({"max_length": 1}, "max_length=1 must be 2 to"),
        ({"allowed_tokens": (40, 50)}, "no token except </s> is allowed"),
    ):
        with pytest.raises(ConfigError, match=message):
            sample(net_of(), Flat.pack(SOURCES), KEYS, 2, **settings)


@pytest.mark.parametrize("width", [30, 700])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.5, "temperature": 2.0}])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_raise_an_error(width, settings, broken):
    net = net_of(vocab_size=width)
    with torch.no_grad():
        net.final_logits_bias[7] = broken
    with pytest.raises(InputError, match="the training diverged"):
        sample(net, Flat.pack(SOURCES), KEYS, 2, max_length=10, **settings)


@pytest.mark.parametrize("steps", [3, 8, 100])
@pytest.mark.parametrize("max_length", [2, 17, 40])
def test_checking_less_often_for_finished_rows_changes_no_sample(monkeypatch, steps, max_length):
    expected = sample(net_of(), Flat.pack(SOURCES), KEYS, 6, max_length=max_length)
    monkeypatch.setitem(CHECK_EVERY, "cpu", steps)
    drawn = sample(net_of(), Flat.pack(SOURCES), KEYS, 6, max_length=max_length)
    assert [[h.tokens for h in samples] for samples in drawn] == [[h.tokens for h in samples] for samples in expected]
    likelihoods = [[h.log_likelihood for samples in way for h in samples] for way in (drawn, expected)]
    assert likelihoods[0] == pytest.approx(likelihoods[1], abs=1e-4)


def test_samples_leave_the_device_in_one_copy(monkeypatch):
    copies, reads = [], []
    copy, read = torch.Tensor.cpu, torch.Tensor.tolist
    monkeypatch.setitem(CHECK_EVERY, "cpu", 8)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: (copies.append(tensor.shape), copy(tensor))[1])
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: (reads.append(tensor.shape), read(tensor))[1])
    net = net_of()
    net.final_logits_bias[2] = -1000.0  # texts do not end before their maximum length
    drawn = sample(net, Flat.pack(SOURCES), KEYS, 6, max_length=34)
    assert copies == [(24, 33 + 2)] and all(len(h.tokens) == 33 for samples in drawn for h in samples)
    assert reads.count((2,)) == 4 + 1  # whether rows have ended: at every 8th step and at the last one


def test_weights_that_are_not_finite_raise_an_error_at_the_last_step(monkeypatch):
    monkeypatch.setitem(CHECK_EVERY, "cpu", 100)
    net = net_of()
    with torch.no_grad():
        net.final_logits_bias[7] = float("nan")
    with pytest.raises(InputError, match="the training diverged"):
        sample(net, Flat.pack(SOURCES), KEYS, 2, max_length=10)
