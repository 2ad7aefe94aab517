"""A pooled sequence is the same alone and in any batch, and every head sends its gradient where it should."""

from __future__ import annotations

import pytest
import torch

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.heads import POOLING, Head, mean_by_addition, mean_of_inner

LENGTHS = [5, 2, 3, 41, 2, 300]  # two of them have nothing between the frame


def flat(lengths: list[int]) -> Flat:
    return Flat.pack([list(range(length)) for length in lengths])


def states(lengths: list[int], width: int = 8, dtype=torch.float32) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(sum(lengths), width).to(dtype)


def head(pooling: str, **settings) -> Head:
    torch.manual_seed(0)
    return Head(8, 3, pooling, **settings).eval()


@pytest.mark.parametrize("pooling", POOLING)
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 0.0)])
def test_a_sequence_is_pooled_alike_alone_and_in_any_batch(pooling, dense, dtype, most):
    """In bf16 too: each sum is over one sequence, and is rounded once."""
    hidden, module = states(LENGTHS, dtype=dtype), head(pooling, dense=dense).to(dtype)
    parts = hidden.split(LENGTHS)
    together = module.pool(hidden, flat(LENGTHS))
    alone = [module.pool(part, flat([length])) for part, length in zip(parts, LENGTHS, strict=True)]
    assert (together - torch.cat(alone)).abs().max() <= most
    others = [5, 3, 1]
    batch = torch.cat([parts[i] for i in others])
    again = module.pool(batch, flat([LENGTHS[i] for i in others]))
    assert (again - torch.cat([alone[i] for i in others])).abs().max() <= most
    answers = module(hidden, flat(LENGTHS)).split(1 if pooling != "residue" else [max(0, n - 2) for n in LENGTHS])
    single = [module(part, flat([length])) for part, length in zip(parts, LENGTHS, strict=True)]
    for found, expected in zip(answers, single, strict=True):
        assert torch.allclose(found, expected, atol=1e-6 if dtype == torch.float32 else 1e-2)


def test_what_is_pooled_by_hand():
    hidden, lengths = states([4, 2, 3]), [4, 2, 3]
    first, second, third = hidden.split(lengths)
    mean = head("mean").pool(hidden, flat(lengths))
    assert torch.allclose(mean, torch.stack([first[1:3].mean(0), second.mean(0), third[1]]))
    assert torch.equal(head("cls").pool(hidden, flat(lengths)), torch.stack([first[0], second[0], third[0]]))
    assert torch.equal(head("residue").pool(hidden, flat(lengths)), torch.cat([first[1:3], third[1:2]]))
    module = head("attention")
    weights = [torch.softmax(module.score(part).squeeze(-1), 0) for part in (first, second, third)]
    expected = [(w[:, None] * part).sum(0) for w, part in zip(weights, (first, second, third), strict=True)]
    assert torch.allclose(module.pool(hidden, flat(lengths)), torch.stack(expected), atol=1e-6)
    assert flat(lengths).inner().tolist() == [1, 2, 7]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_by_one_addition_is_the_same(dtype):
    """As it is computed on other devices; the frame is subtracted, though it may be far larger than what is between."""
    hidden = states(LENGTHS, dtype=dtype)
    hidden[0] = hidden[4] = 300.0
    expected = mean_of_inner(hidden, flat(LENGTHS))
    found = mean_by_addition(hidden, flat(LENGTHS))
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected.float(), atol=1e-4 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("dense", [False, True])
def test_answers_are_finer_than_the_arithmetic_of_the_encoder(dense):
    """A number in bf16 is known to a percent of the deviation; the last product is in fp32."""
    module, hidden = head("mean", dense=dense), states([3] * 400)
    with torch.autocast("cpu", torch.bfloat16):
        answers = module(hidden, flat([3] * 400))
    assert answers.dtype == torch.float32 and len(answers[:, 0].unique()) > 300


def test_no_residue_at_all():
    module = head("residue")
    assert module(states([2, 2]), flat([2, 2])).shape == (0, 3)


@pytest.mark.parametrize("pooling", POOLING)
def test_gradients_reach_what_was_pooled_and_every_weight(pooling):
    hidden, module = states([4, 3]).requires_grad_(), head(pooling, dense=True)
    module(hidden, flat([4, 3])).square().sum().backward()
    reached = {
        "mean": [1, 2, 5],
        "residue": [1, 2, 5],
        "cls": [0, 4],
        "attention": list(range(7)),
    }[pooling]
    assert (hidden.grad.abs().sum(1) > 0).nonzero().flatten().tolist() == reached
    nothing = [name for name, weight in module.named_parameters() if weight.grad is None]
    assert not nothing
    if pooling == "attention":  # a constant added to all scores changes nothing
        assert module.score.weight.grad.abs().max() > 0 and module.score.bias.grad.abs().max() < 1e-6


def test_dropout_acts_in_training_alone():
    hidden, module = states([9, 9]), head("mean", dropout=0.5)
    assert torch.equal(module(hidden, flat([9, 9])), module(hidden, flat([9, 9])))
    module.train()
    assert not torch.equal(module(hidden, flat([9, 9])), module(hidden, flat([9, 9])))


@pytest.mark.parametrize(("settings", "said"), [({"pooling": "max"}, "pooling=max"), ({"dropout": 1.0}, "dropout=1.0")])
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(ConfigError, match=said):
        Head(8, 3, **settings)


@pytest.mark.parametrize("fewer", [2, 3])
def test_places_from_the_second_on_are_those_of_a_loop_over_the_sequences(fewer):
    lengths = [4, 1, 2, 3, 9, 1, 5]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    expected = [s + 1 + k for s, n in zip(starts, lengths, strict=True) for k in range(max(n - fewer, 0))]
    assert flat(lengths)._from_the_second(fewer).tolist() == expected
    assert flat([1, 2])._from_the_second(fewer).tolist() == []
