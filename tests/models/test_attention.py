"""All ways to compute attention agree, and a sequence gives the same result single and packed."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trimer.data.core.static_batches import in_rows
from trimer.flat import Flat
from trimer.models import attention as module
from trimer.models import cpu_attention as on_cpu
from trimer.models.attention import _padded, _variable_length, attention
from trimer.models.esm2 import Layer
from trimer.models.rotary import rotary_tables


def packed(lengths_q, lengths_k, heads=3, width=8, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = [(sum(lengths_q), heads, width), (sum(lengths_k), heads, width), (sum(lengths_k), heads, width)]
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shape]


CASES = [
    ((5, 1, 9), (5, 1, 9), True),
    ((5, 1, 9), (5, 1, 9), False),
    ((2, 7), (11, 1), False),
    ((1,), (1,), True),
    ((33, 64, 70), (33, 64, 70), True),
    ((33, 3), (64, 70), False),
]


@pytest.mark.parametrize(("lengths_q", "lengths_k", "causal"), CASES)
def test_attention_equals_its_definition(lengths_q, lengths_k, causal):
    q, k, v = packed(lengths_q, lengths_k)
    out = attention(q, k, v, lengths_q, lengths_k, causal).split(lengths_q)
    for qi, ki, vi, oi in zip(q.split(lengths_q), k.split(lengths_k), v.split(lengths_k), out, strict=True):
        args = (x.transpose(0, 1)[None] for x in (qi, ki, vi))
        expected = F.scaled_dot_product_attention(*args, is_causal=causal)[0].transpose(0, 1)
        torch.testing.assert_close(oi, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("lengths_q", "lengths_k", "causal"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_per_sequence_equals_padded_forward_and_backward(lengths_q, lengths_k, causal, dtype, tolerance):
    inputs = packed(lengths_q, lengths_k, dtype=dtype)
    weights = torch.randn(inputs[0].shape).to(dtype)
    results = []
    for path in (attention, _padded):
        out = path(*inputs, lengths_q, lengths_k, causal)
        results.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("lengths", [((0, 3), (0, 3)), ((0, 0, 3), (0, 0, 3)), ((3, 3), (0, 0)), ((0, 0), (4, 4))])
def test_sequences_without_tokens_do_not_change_the_others(monkeypatch, lengths, flash, dtype):
    monkeypatch.setattr(on_cpu, "flash_is_faster_in_bf16", lambda: flash)
    lengths_q, lengths_k = lengths
    inputs = packed(lengths_q, lengths_k, dtype=dtype)
    with torch.no_grad():
        predicted = attention(*(x.detach() for x in inputs), lengths_q, lengths_k)
    out = attention(*inputs, lengths_q, lengths_k)
    gradients = torch.autograd.grad(out.sum(), inputs)
    alone = attention(*(x[-3:] for x in inputs), (3,), (3,)) if lengths_k[-1] == 3 else torch.zeros_like(out)
    torch.testing.assert_close(out, alone)
    torch.testing.assert_close(predicted, alone, atol=2e-2, rtol=2e-2)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("lengths_q", "lengths_k", "causal"), CASES)
@pytest.mark.parametrize(("dtype", "learning"), [(torch.float32, True), (torch.bfloat16, False)])
def test_weights_of_long_sequences_are_never_stored(monkeypatch, lengths_q, lengths_k, causal, dtype, learning):
    """The weights of a protein of 35,000 residues would fill 100 GB."""
    inputs = packed(lengths_q, lengths_k, dtype=dtype)
    if not learning:
        inputs = [x.detach() for x in inputs]
    monkeypatch.setattr(on_cpu, "flash_is_faster_in_bf16", lambda: False)
    expected = attention(*inputs, lengths_q, lengths_k, causal)
    monkeypatch.setattr(on_cpu, "SHORT" if learning else "LONG", 0)
    monkeypatch.setattr(torch, "bmm", None)
    out = attention(*inputs, lengths_q, lengths_k, causal)
    tolerance = 1e-5 if learning else 3e-2
    torch.testing.assert_close(out, expected, atol=tolerance, rtol=tolerance)
    if learning:
        out.sum().backward()


@pytest.mark.parametrize(("lengths_q", "lengths_k", "causal"), CASES)
def test_bf16_predictions_agree_by_either_kernel_and_the_faster_one_is_used(monkeypatch, lengths_q, lengths_k, causal):
    inputs = [x.detach() for x in packed(lengths_q, lengths_k, dtype=torch.bfloat16)]
    results, products = {}, []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *arguments, **named: products.append(1) or bmm(*arguments, **named))
    for flash in (True, False):
        monkeypatch.setattr(on_cpu, "flash_is_faster_in_bf16", lambda flash=flash: flash)
        results[flash] = attention(*inputs, lengths_q, lengths_k, causal)
        assert bool(products) is not flash
    torch.testing.assert_close(results[True], results[False], atol=3e-2, rtol=3e-2)


@pytest.mark.parametrize("constant", ["STACKED", "SHORT", "LONG", "IN_CACHE"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_kernels_and_stacks_agree_forward_and_backward(monkeypatch, constant, dtype, tolerance, dropout):
    lengths = (5, 1, 9, 5, 5, 9)
    inputs = packed(lengths, lengths, dtype=dtype)
    weights = torch.randn(inputs[0].shape).to(dtype)
    if dropout:  # what is dropped depends on the order of the draws: only that nothing but a share is lost
        monkeypatch.setattr(F, "dropout", lambda x, share: x * (1 - share))

    def result():
        on_cpu._stacks.cache_clear()
        out = attention(*inputs, lengths, lengths, True, dropout)
        return [out, *torch.autograd.grad((out * weights).sum(), inputs)]

    before = result()
    monkeypatch.setattr(on_cpu, constant, 0)
    after = result()
    on_cpu._stacks.cache_clear()
    for ours, theirs in zip(before, after, strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def test_gradients_equal_finite_differences():
    inputs = packed((3, 2), (4, 1), heads=2, width=4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, (3, 2), (4, 1)), inputs, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("learning", "flash"), [(True, True), (False, True), (False, False)])
def test_a_single_sequence_equals_a_packed_one_bit_for_bit(monkeypatch, dtype, causal, learning, flash):
    lengths = (7, 30, 2, 7, 200, 30)  # of one length and of several, for either kernel
    monkeypatch.setattr(on_cpu, "flash_is_faster_in_bf16", lambda: flash)
    q, k, v = packed(lengths, lengths, dtype=dtype)
    q, k, v = (x.requires_grad_(learning) for x in (q.detach(), k.detach(), v.detach()))
    together = attention(q, k, v, lengths, lengths, causal).split(lengths)
    for i, (qi, ki, vi) in enumerate(zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)):
        assert torch.equal(attention(qi, ki, vi, lengths[i : i + 1], lengths[i : i + 1], causal), together[i])


def test_dropout_keeps_the_mean_and_gradients_use_the_same_mask():
    q, k, v = packed((40,), (40,), width=4, dtype=torch.float64)
    torch.manual_seed(0)
    plain = attention(q, k, v, (40,), (40,))
    mean = torch.stack([attention(q, k, v, (40,), (40,), dropout=0.2) for _ in range(300)]).mean(0)
    assert (mean - plain).abs().max() < 0.15

    def seeded(q, k, v):
        torch.manual_seed(3)
        return attention(q, k, v, (5, 3), (5, 3), True, 0.3)

    assert torch.autograd.gradcheck(seeded, packed((5, 3), (5, 3), heads=2, width=2, dtype=torch.float64))


def test_variable_length_kernel_gets_valid_arguments(monkeypatch):
    """There may be no GPU where this runs: a stand-in with the kernel's arguments computes the same by padding."""
    seen = {}

    def kernel(q, k, v, starts_q, starts_k, longest_q, longest_k, *, window_size):
        assert starts_q.dtype == starts_k.dtype == torch.int32
        seen.update(longest=(longest_q, longest_k), window=window_size)
        lengths = (tuple(starts.diff().tolist()) for starts in (starts_q, starts_k))
        return _padded(q, k, v, *lengths, causal=window_size == (-1, 0))

    monkeypatch.setattr(module, "varlen_attn", kernel)
    monkeypatch.setattr(module, "_CAUSAL_WINDOW", True)
    for lengths_q, lengths_k, causal in CASES:
        inputs = packed(lengths_q, lengths_k)
        out = _variable_length(*inputs, lengths_q, lengths_k, causal)
        torch.testing.assert_close(out, attention(*inputs, lengths_q, lengths_k, causal), atol=1e-5, rtol=1e-5)
        assert seen == {"longest": (max(lengths_q), max(lengths_k)), "window": (-1, 0 if causal else -1)}


SIZES = [(12, 20), (3, 9), (30, 20), (7, 20)]  # of each sequence, as query and as key


def static_sides(sizes=SIZES, row_of=(1, 0, 0, 1)):
    """Source and target of a static batch: one row is empty, and in two others only one side has padding."""
    sides = zip(*sizes, strict=True)
    return [
        in_rows(Flat.pack([range(size) for size in side]), 3, length, 7, np.array(row_of))
        for side, length in zip(sides, (33, 40), strict=True)
    ]


@pytest.mark.parametrize(("causal", "cross"), [(False, False), (True, False), (False, True)])
def test_rows_of_static_batches_give_the_kernel_valid_arguments(causal, cross, monkeypatch):
    """A stand-in with the arguments of the kernel; like the kernel, it returns zeros where there is no key."""

    def kernel(q, k, v, starts_q, starts_k, longest_q, longest_k, **_):
        assert starts_q.dtype == starts_k.dtype == torch.int32 and len(starts_q) == len(starts_k) == 7 + 3 + 1
        out = torch.zeros_like(q)
        bounds = torch.stack([starts_q, starts_k], 1).tolist()
        for (first_q, first_k), (last_q, last_k) in itertools.pairwise(bounds):
            assert 0 <= last_q - first_q <= longest_q and 0 <= last_k - first_k <= longest_k
            if last_q > first_q and last_k > first_k:
                part = q[first_q:last_q], k[first_k:last_k], v[first_k:last_k]
                out[first_q:last_q] = _padded(*part, (last_q - first_q,), (last_k - first_k,), causal)
        assert starts_q[-1] == len(q) and starts_k[-1] == len(k)
        return out

    query, key = static_sides()
    key = key if cross else query
    torch.manual_seed(0)
    q, k, v = (torch.randn(side.tokens.numel(), 2, 8) for side in (query, key, key))
    expected = attention(q, k, v, query.layout, key.layout, causal)
    monkeypatch.setattr(module, "varlen_attn", kernel)
    monkeypatch.setattr(module, "_flash_can_run", lambda *_: True)
    out = attention(q, k, v, query.layout, key.layout, causal)
    torch.testing.assert_close(out[query.order], expected[query.order], atol=1e-5, rtol=1e-5)
    assert out.isfinite().all()


@pytest.mark.skipif(module.varlen_attn is None, reason="needs torch.nn.attention.varlen")
def test_a_block_with_the_variable_length_kernel_is_compiled_once(monkeypatch):
    """On the meta device: forward and backward pass are captured as on CUDA, without values."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(str(graph.graph))
        return graph

    monkeypatch.setattr(module, "_flash_can_run", lambda *_: True)
    block = Layer(32, 2, 64, bias=True).to("meta", torch.bfloat16)
    compiled = torch.compile(block, fullgraph=True, dynamic=False, backend=backend)
    for row_of in ((1, 0, 0, 1), (0, 1, 1, 0), (2, 1, 1, 2)):
        batch = static_sides(row_of=row_of)[0].to("meta")
        x = torch.empty(batch.tokens.numel(), 32, device="meta", dtype=torch.bfloat16, requires_grad=True)
        compiled(x, *rotary_tables(batch.positions(), 16), batch.layout).sum().backward()
        assert x.grad.shape == x.shape
    assert len(graphs) == 1 and "_varlen_attn" in graphs[0]


@pytest.mark.parametrize("path", [attention, _padded])
def test_training_after_inference(path):
    """Tensors cached by one call must work in both modes."""
    lengths = (3, 6)
    inputs = packed(lengths, lengths)
    with torch.inference_mode():
        path(*inputs, lengths, lengths, causal=True)
    path(*inputs, lengths, lengths, causal=True).sum().backward()
    assert all(x.grad is not None for x in inputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("lengths_q", "lengths_k", "causal"), CASES)
def test_cuda_equals_cpu(lengths_q, lengths_k, causal):
    inputs = packed(lengths_q, lengths_k, width=32, dtype=torch.bfloat16)
    weights = torch.randn(inputs[0].shape).bfloat16()
    results = []
    for device in ("cpu", "cuda"):
        moved = [x.detach().to(device).requires_grad_() for x in inputs]
        out = attention(*moved, lengths_q, lengths_k, causal)
        results.append([out, *torch.autograd.grad((out * weights.to(device)).sum(), moved)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs.cpu(), atol=3e-2, rtol=3e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("causal", "cross"), [(False, False), (True, False), (False, True)])
def test_rows_on_cuda_equal_those_on_the_cpu(causal, cross):
    query, key = static_sides()
    key = key if cross else query
    inputs = [torch.randn(side.tokens.numel(), 2, 32).bfloat16() for side in (query, key, key)]
    results = []
    for device in ("cpu", "cuda"):
        sides = query.to(device), key.to(device)
        moved = [x.to(device).requires_grad_() for x in inputs]
        out = attention(*moved, sides[0].layout, sides[1].layout, causal)[query.order]
        results.append([out, *torch.autograd.grad(out.float().square().sum(), moved)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs.cpu(), atol=3e-2, rtol=3e-2)
