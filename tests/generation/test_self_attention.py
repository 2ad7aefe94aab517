"""Beams that share a cache give the same attention as rows with separate copies."""

from __future__ import annotations

import pytest
import torch

from trimer.generation.packed_linear import PackedLinear
from trimer.generation.self_attention import BeamCache, RowCache
from trimer.models import cpu_attention


@pytest.mark.parametrize(
    ("dtype", "flash", "tolerance"),
    [(torch.float32, False, 1e-5), (torch.bfloat16, True, 3e-2), (torch.bfloat16, False, 3e-2)],
)
def test_shared_beams_attend_like_copied_rows(monkeypatch, dtype, flash, tolerance):
    monkeypatch.setattr(cpu_attention, "flash_is_faster_in_bf16", lambda: flash)
    torch.manual_seed(0)
    inputs, beams, heads, width = 3, 4, 2, 8
    like = torch.zeros(0, dtype=dtype)
    copied, shared = RowCache(inputs * beams, 1, heads, width, like), BeamCache(inputs, beams, 1, heads, width, like)
    for step in range(35):  # beyond two growths
        q, k, v = torch.randn(3, inputs * beams, heads, width).to(dtype)
        for cache in (copied, shared):
            cache.next_token()
        torch.testing.assert_close(shared.attend(0, q, k, v), copied.attend(0, q, k, v), atol=tolerance, rtol=tolerance)
        stay = torch.tensor([0, 2] if step == 20 else range(inputs))
        rows = (stay[:, None] * beams + torch.randint(beams, (len(stay), beams))).flatten()
        copied.select(rows)
        shared.select(rows)
        inputs = len(stay)
    assert inputs == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_layers_equal_linear_layers(dtype):
    torch.manual_seed(0)
    linear = torch.nn.Linear(33, 20).to(dtype)
    x = torch.randn(40, 33).to(dtype)
    packed = PackedLinear(linear.weight, linear.bias, 40)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), linear(x), atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=0)
        for rows in (4, 7, 16, 33):
            assert torch.equal(packed(x[:rows]), packed(x)[:rows])
