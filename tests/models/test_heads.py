"""Pooling does not depend on the batch, and gradients reach all weights of every head."""

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
def test_pooling_does_not_depend_on_the_batch(pooling, dense, dtype, most):
    """In bf16 too: each sum is over one sequence, and is rounded once."""
    hidden, module = states(LENGTHS, dtype=dtype), head(pooling, dense=dense).to(dtype)
    parts = hidden.split(LENGTHS)
    together = module.pool(hidden, flat(LENGTHS))
    alone = [module.pool(part, flat([length])) for part, length in zip(parts, LENGTHS, strict=True)]
    assert (together - torch.cat(alone)).abs().max() <= most
    others = [5, 3, 1]
    batch = torch.cat([parts[i] for i in others])
    other_batch = module.pool(batch, flat([LENGTHS[i] for i in others]))
    assert (other_batch - torch.cat([alone[i] for i in others])).abs().max() <= most
    outputs = module(hidden, flat(LENGTHS)).split(1 if pooling != "residue" else [max(0, n - 2) for n in LENGTHS])
    single = [module(part, flat([length])) for part, length in zip(parts, LENGTHS, strict=True)]
    for result, expected in zip(outputs, single, strict=True):
        assert torch.allclose(result, expected, atol=1e-6 if dtype == torch.float32 else 1e-2)


def test_pooling_equals_values_computed_by_hand():
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
def test_mean_by_addition_equals_the_mean_by_sequence(dtype):
    """As it is computed on other devices; the frame is subtracted, though it may be far larger than what is between."""
    hidden = states(LENGTHS, dtype=dtype)
    hidden[0] = hidden[4] = 300.0
    expected = mean_of_inner(hidden, flat(LENGTHS))
    result = mean_by_addition(hidden, flat(LENGTHS))
    assert result.dtype == dtype
    assert torch.allclose(result.float(), expected.float(), atol=1e-4 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("dense", [False, True])
def test_outputs_are_fp32_for_an_encoder_in_bf16(dense):
    """A number in bf16 is known to a percent of the deviation; the last product is in fp32."""
    module, hidden = head("mean", dense=dense), states([3] * 400)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(hidden, flat([3] * 400))
    assert outputs.dtype == torch.float32 and len(outputs[:, 0].unique()) > 300


def test_sequences_without_residues_give_no_outputs():
    module = head("residue")
    assert module(states([2, 2]), flat([2, 2])).shape == (0, 3)


@pytest.mark.parametrize("pooling", POOLING)
def test_gradients_reach_pooled_tokens_and_every_weight(pooling):
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


def test_dropout_acts_in_training_only():
    hidden, module = states([9, 9]), head("mean", dropout=0.5)
    assert torch.equal(module(hidden, flat([9, 9])), module(hidden, flat([9, 9])))
    module.train()
    assert not torch.equal(module(hidden, flat([9, 9])), module(hidden, flat([9, 9])))


@pytest.mark.parametrize(
    ("settings", "message"), [({"pooling": "max"}, "pooling=max"), ({"dropout": 1.0}, "dropout=1.0")]
)
def test_invalid_arguments_raise_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        Head(8, 3, **settings)


@pytest.mark.parametrize("fewer", [2, 3])
def test_inner_positions_equal_those_of_a_loop_over_sequences(fewer):
    lengths = [4, 1, 2, 3, 9, 1, 5]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    expected = [s + 1 + k for s, n in zip(starts, lengths, strict=True) for k in range(max(n - fewer, 0))]
    assert flat(lengths)._from_the_second(fewer).tolist() == expected
    assert flat([1, 2])._from_the_second(fewer).tolist() == []


def test_features_are_standardised_bounded_and_concatenated():
    module = head("mean", features=3)
    module.feature_mean.copy_(torch.tensor([1.0, 0.0, 10.0]))
    module.feature_deviation.copy_(torch.tensor([2.0, 1.0, 0.5]))
    sequence, hidden = flat([4, 5]), states([4, 5])
    sequence.features = torch.tensor([[3.0, torch.nan, 10.25], [1.0, 1000.0, -1000.0]])
    assert module.standardised(sequence).tolist() == [[1.0, 0.0, 0.5], [0.0, 5.0, -5.0]]
    one, two = module(hidden, sequence)
    alone = flat([5])
    alone.features = sequence.features[1:]
    assert torch.allclose(module(hidden[4:], alone)[0], two, atol=1e-6), "whatever the other sequences"
    sequence.features[0, 0] = 9.0
    assert not torch.allclose(module(hidden, sequence)[0], one) and torch.equal(module(hidden, sequence)[1], two)
    assert head("mean", features=3, dense=True)(hidden, sequence).shape == (2, 3)
    for wrong in (None, torch.zeros(2, 4)):
        sequence.features = wrong
        with pytest.raises(ConfigError, match="this model reads 3 features of each molecule"):
            module(hidden, sequence)
