"""Rotary positions: rotations of pairs in fp32, products that depend on the distance only."""

import math

import pytest
import torch

from trimer.models.rotary import rotary_tables, rotate


def test_each_pair_is_rotated_by_a_different_angle():
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    out = rotate(x, *rotary_tables(torch.tensor([3]), 4))[0, 0]
    for pair, frequency in ((0, 1.0), (1, 0.01)):
        angle = 3 * frequency
        first, second = x[0, 0, pair], x[0, 0, pair + 2]
        assert out[pair] == pytest.approx(float(first * math.cos(angle) - second * math.sin(angle)), abs=1e-6)
        assert out[pair + 2] == pytest.approx(float(second * math.cos(angle) + first * math.sin(angle)), abs=1e-6)


def test_products_depend_on_the_distance():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 2, 16).double().float()

    def product(i: int, j: int) -> torch.Tensor:
        turned = (rotate(x, *rotary_tables(torch.tensor([place]), 16)) for x, place in ((q, i), (k, j)))
        return (next(turned) * next(turned)).sum(-1)

    torch.testing.assert_close(product(5, 2), product(905, 902), atol=1e-4, rtol=1e-4)
    assert (product(5, 2) - product(5, 3)).abs().max() > 1e-3


def test_half_precision_distinguishes_positions():
    x = torch.ones(2, 1, 16, dtype=torch.bfloat16)
    cos, sin = rotary_tables(torch.tensor([1000, 1001]), 16)  # one place in bf16
    assert cos.dtype == torch.float32
    out = rotate(x, cos, sin)
    assert out.dtype == torch.bfloat16
    assert not torch.equal(out[0], out[1])
    full = rotate(x.float(), cos, sin)
    torch.testing.assert_close(out.float(), full, atol=1e-2, rtol=1e-2)


def test_gradient_equals_that_of_the_formula():
    torch.manual_seed(0)
    x = torch.randn(3, 2, 8, dtype=torch.float32, requires_grad=True)
    cos, sin = rotary_tables(torch.tensor([0, 7, 2]), 8)
    weight = torch.randn(3, 2, 8)
    (ours,) = torch.autograd.grad((rotate(x, cos, sin) * weight).sum(), x)
    first, second = x.chunk(2, -1)
    plain = torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
    (expected,) = torch.autograd.grad((plain * weight).sum(), x)
    torch.testing.assert_close(ours, expected)
