"""Attention over flat batches: one function, three ways to compute it, the same answer.

A flat batch lays B sequences end to end, and a query may only see the keys of its own sequence.
- on the CPU: two batched matrix products per sequence, in the dtype of the queries (bf16 is the fastest by far), and
  where nothing is learnt torch's own attention for long sequences, which never holds all weights;
- on CUDA in half precision: `torch.nn.attention.varlen`, the variable-length flash kernel;
- everywhere else: rows padded to the longest sequence, with a mask.

Shapes: T tokens in all, B sequences, H heads, D width of one head, L length of one sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

try:  # torch 2.9, which the TPU stack needs, does not have it
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None
# Tokens of a sequence whose weights (H, L, L) are laid out where nothing is learnt: those of titin would be 100 GB.
LONG = 2048
# What says causal: a flag at first, a window since torch 2.11.
_CAUSAL_WINDOW = varlen_attn is not None and "window_size" in inspect.signature(varlen_attn).parameters


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths_q: Sequence[int],
    lengths_k: Sequence[int],
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Let every token attend to the tokens of its own sequence: softmax(q k^T / sqrt(D)) v.

    q: (Tq, H, D); k, v: (Tk, H, D); lengths_q sums to Tq, lengths_k to Tk, both of B integers. causal: position i sees
    the keys 0..i, so lengths_q equals lengths_k. dropout: share of attention weights set to zero, 0 outside training.
    Returns (Tq, H, D). What one sequence gets does not depend on the others in the batch.
    """
    if q.device.type == "cpu":
        return _per_sequence(q, k, v, lengths_q, lengths_k, causal, dropout)
    if _flash_can_run(q, dropout):
        return _variable_length(q, k, v, lengths_q, lengths_k, causal)
    return _padded(q, k, v, lengths_q, lengths_k, causal, dropout)


def attention_maps(q: Tensor, k: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """The weights softmax(q k^T / sqrt(D)) of each sequence: B tensors of (H, L, L). q, k: (T, H, D)."""
    parts = zip(q.split(tuple(lengths)), k.split(tuple(lengths)), strict=True)
    scale = q.shape[-1] ** -0.5
    return [torch.softmax((qi.transpose(0, 1) * scale) @ ki.permute(1, 2, 0), -1) for qi, ki in parts]


def _flash_can_run(q: Tensor, dropout: float) -> bool:
    half = q.dtype in (torch.bfloat16, torch.float16)
    fits = q.shape[-1] % 8 == 0 and q.shape[-1] <= 256
    return varlen_attn is not None and q.is_cuda and half and fits and not dropout


def _variable_length(
    q: Tensor, k: Tensor, v: Tensor, lengths_q: Sequence[int], lengths_k: Sequence[int], causal: bool
) -> Tensor:
    window = {"window_size": (-1, 0 if causal else -1)} if _CAUSAL_WINDOW else {"is_causal": causal}
    starts_q = _starts(tuple(lengths_q), q.device)
    starts_k = starts_q if lengths_k is lengths_q else _starts(tuple(lengths_k), q.device)
    return varlen_attn(q, k, v, starts_q, starts_k, max(lengths_q), max(lengths_k), **window)


# What is kept between calls is made outside of inference mode: a tensor made inside could not serve in training later.


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _starts(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """(B + 1,) int32 cumulative lengths; every layer of a step asks for the same ones."""
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32).to(device, non_blocking=True)


def _padded(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths_q: Sequence[int],
    lengths_k: Sequence[int],
    causal: bool,
    dropout: float = 0.0,
) -> Tensor:
    rows_q, _, places = _rows(tuple(lengths_q), q.device)
    rows_k, mask, _ = _rows(tuple(lengths_k), q.device)
    if causal:
        mask = mask & torch.ones(rows_q.shape[1], rows_k.shape[1], dtype=torch.bool, device=q.device).tril()
    heads_first = (x[rows].transpose(1, 2) for x, rows in ((q, rows_q), (k, rows_k), (v, rows_k)))  # (B, H, L, D)
    out = F.scaled_dot_product_attention(*heads_first, attn_mask=mask, dropout_p=dropout)
    return out.transpose(1, 2).flatten(0, 1)[places]


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _rows(lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """How a flat batch becomes rows and comes back.

    (B, L) place in T of each token of each row, where places past the end repeat the last token; (B, 1, 1, L) which of
    them are real; (T,) place in the rows, laid end to end, of each token of T.
    """
    sizes, longest = torch.tensor(lengths), max(lengths)
    columns = torch.arange(longest).expand(len(lengths), -1)
    real = columns < sizes[:, None]
    rows = (sizes.cumsum(0) - sizes)[:, None] + columns.minimum((sizes - 1)[:, None]).clamp(min=0)
    places = real.flatten().nonzero().squeeze(1)
    return rows.to(device), real[:, None, None, :].to(device), places.to(device)


class _PerSequence(torch.autograd.Function):
    """Two batched matrix products per sequence, differentiated by hand.

    Written out because autograd would split and join the flat tensors once more for every sequence, and because an
    explicit contiguous copy is cheap where the one inside `bmm` is not.
    """

    @staticmethod
    def forward(ctx, q, k, v, lengths_q, lengths_k, causal, dropout):  # (T, H, D) each
        q = q * q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        learning = any(ctx.needs_input_grad)
        kept = []  # per sequence: the weights (H, Lq, Lk), and with dropout what multiplied them
        for qi, ki, vi, oi in _heads_first(lengths_q, lengths_k, q, k, v, out):
            if not learning and not dropout and qi.shape[1] * ki.shape[1] > LONG * LONG:
                rows = (x.contiguous()[None] for x in (qi, ki, vi))
                oi.copy_(F.scaled_dot_product_attention(*rows, is_causal=causal, scale=1.0)[0])
                continue
            scores = torch.bmm(qi.contiguous(), ki.contiguous().transpose(1, 2))
            if causal:
                scores += _causal_mask(scores.shape[1], scores.dtype)
            half = scores.element_size() == 2
            weights = torch.softmax(scores.float() if half else scores, -1).to(scores.dtype)
            if learning:
                kept.append(weights)
            if dropout:
                mask = F.dropout(torch.ones_like(weights), dropout)
                weights = weights * mask
                if learning:
                    kept.append(mask)
            torch.bmm(weights, vi, out=oi)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.lengths, ctx.dropout = (lengths_q, lengths_k), dropout
        return out

    @staticmethod
    def backward(ctx, grad_out):
        q, k, v, *kept = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty(x.shape, dtype=x.dtype) for x in (q, k, v))
        kept = iter(kept)
        for qi, ki, vi, goi, gqi, gki, gvi in _heads_first(*ctx.lengths, q, k, v, grad_out, grad_q, grad_k, grad_v):
            weights, goi = next(kept), goi.contiguous()
            mask = next(kept) if ctx.dropout else None
            torch.bmm((weights if mask is None else weights * mask).transpose(1, 2), goi, out=gvi)
            grad_weights = torch.bmm(goi, vi.contiguous().transpose(1, 2))
            if mask is not None:
                grad_weights *= mask
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            torch.bmm(grad_scores, ki.contiguous(), out=gqi)
            torch.bmm(grad_scores.transpose(1, 2), qi.contiguous(), out=gki)
        return grad_q.mul_(q.shape[-1] ** -0.5), grad_k, grad_v, None, None, None, None


def _per_sequence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths_q: Sequence[int],
    lengths_k: Sequence[int],
    causal: bool,
    dropout: float = 0.0,
) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return _PerSequence.apply(q, k, v, tuple(lengths_q), tuple(lengths_k), causal, dropout)


def _heads_first(
    lengths_q: tuple[int, ...], lengths_k: tuple[int, ...], q: Tensor, k: Tensor, v: Tensor, *of_q: Tensor
):
    """For each sequence, the (H, L, D) views of q, k, v and of more tensors, shaped in turn like q, q, k and v."""
    like = (lengths_q, lengths_q, lengths_k, lengths_k)
    parts = [q.split(lengths_q), k.split(lengths_k), v.split(lengths_k)]
    parts += [x.split(lengths) for x, lengths in zip(of_q, like, strict=False)]
    for sequence in zip(*parts, strict=True):
        yield [x.transpose(0, 1) for x in sequence]


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _mask_of(length: int, dtype: torch.dtype) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=dtype).triu(1)


def _causal_mask(length: int, dtype: torch.dtype) -> Tensor:
    """(L, L) zero on and below the diagonal, minus infinity above: a corner of one kept mask."""
    return _mask_of(-(-length // 256) * 256, dtype)[:length, :length]
