"""Attention over flat batches: one function, four ways to compute it, the same answer.

A flat batch lays B sequences end to end, and a query may only see the keys of its own sequence.
- on the CPU, sequence by sequence: torch's flash kernel, which never holds all weights, or two batched matrix products
  while learning in half precision, where its gradient is slow, and where weights are dropped, which it cannot do;
- on CUDA in half precision: `torch.nn.attention.varlen`, the variable-length flash kernel;
- everywhere else: rows padded to the longest sequence, with a mask.
A static batch has rows already, each of several sequences: there a mask keeps the sequences of a row apart.

Shapes: T tokens in all, B sequences, H heads, D width of one head, L length of one sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.flat import Rows

try:  # torch 2.9, which the TPU stack needs, does not have it
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None
# On the CPU, in tokens of a sequence. Up to STACKED, those of equal lengths share a call, which costs more than their
# work. Up to SHORT, two products are faster than the flash kernel while learning in fp32 too. Above LONG, weights
# (H, L, L) are never laid out unless some are dropped: those of titin would be 100 GB. The crossings were the same with
# and without AMX.
STACKED, SHORT, LONG = 48, 128, 2048
IN_CACHE = 2**20  # weights laid out at a time: 2 MB in half precision, what a core's own cache holds
FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
# What says causal: a flag at first, a window since torch 2.11.
_CAUSAL_WINDOW = varlen_attn is not None and "window_size" in inspect.signature(varlen_attn).parameters


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths_q: Sequence[int] | Rows,
    lengths_k: Sequence[int] | Rows,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Let every token attend to the tokens of its own sequence: softmax(q k^T / sqrt(D)) v.

    q: (Tq, H, D); k, v: (Tk, H, D); lengths_q sums to Tq, lengths_k to Tk, both of B integers; of a static batch both
    are its rows (`Flat.layout`), and a sequence has the same row on both sides. causal: position i sees the keys 0..i,
    so lengths_q equals lengths_k. dropout: share of attention weights set to zero, 0 outside training. Returns
    (Tq, H, D). What one sequence gets does not depend on the others in the batch.
    """
    if isinstance(lengths_q, Rows):
        return _in_rows(q, k, v, lengths_q.segments, lengths_k.segments, causal, dropout)
    if q.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):
            return _BySequence.apply(q, k, v, _stacks(tuple(lengths_q), tuple(lengths_k)), causal, dropout)
    if _flash_can_run(q, dropout):
        return _variable_length(q, k, v, lengths_q, lengths_k, causal)
    return _padded(q, k, v, lengths_q, lengths_k, causal, dropout)


def attention_maps(q: Tensor, k: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """The weights softmax(q k^T / sqrt(D)) of each sequence: B tensors of (H, L, L). q, k: (T, H, D)."""
    parts = zip(q.split(tuple(lengths)), k.split(tuple(lengths)), strict=True)
    scale = q.shape[-1] ** -0.5
    return [torch.softmax((qi.transpose(0, 1) * scale) @ ki.permute(1, 2, 0), -1) for qi, ki in parts]


def _in_rows(
    q: Tensor, k: Tensor, v: Tensor, segments_q: Tensor, segments_k: Tensor, causal: bool, dropout: float
) -> Tensor:
    """segments_q: (R, Lq), segments_k: (R, Lk), number of the sequence of each token."""
    allowed = segments_q[:, :, None] == segments_k[:, None, :]  # (R, Lq, Lk)
    if causal:
        allowed = allowed & torch.ones_like(allowed[0]).tril()
    # Finite: a row without padding leaves the padding of the other side no key, and 0 / 0 would reach the gradients.
    mask = torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill(
        ~allowed, torch.finfo(q.dtype).min / 2
    )
    rows = len(segments_q)
    heads_first = (x.view(rows, -1, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))  # (R, H, L, D)
    out = F.scaled_dot_product_attention(*heads_first, attn_mask=mask[:, None], dropout_p=dropout)
    return out.transpose(1, 2).flatten(0, 1)


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


class Stack(NamedTuple):
    """n sequences of one length, side by side: rows say which tokens of the flat batch are theirs."""

    n: int
    length_q: int
    length_k: int
    rows_q: Tensor | tuple[int, int]
    rows_k: Tensor | tuple[int, int]

    def take(self, x: Tensor, rows: Tensor | tuple[int, int]) -> Tensor:
        """(n H, L, D) of x (T, H, D): a view where the sequence is alone."""
        if self.n == 1:
            return x.narrow(0, *rows).transpose(0, 1)
        return x.index_select(0, rows).view(self.n, -1, *x.shape[1:]).transpose(1, 2).flatten(0, 1)

    def take_all(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.take(q, self.rows_q), self.take(k, self.rows_k), self.take(v, self.rows_k)

    def room(self, x: Tensor, rows: Tensor | tuple[int, int]) -> Tensor:
        """Where (n H, L, D) may be written for `put`: in place where the sequence is alone."""
        if self.n == 1:
            return self.take(x, rows)
        return x.new_empty(self.n * x.shape[1], len(rows) // self.n, x.shape[2])

    def put(self, x: Tensor, rows: Tensor | tuple[int, int], some: Tensor) -> None:
        """Bring (n H, L, D) to the rows of x (T, H, D)."""
        if self.n == 1:
            x.narrow(0, *rows).copy_(some.transpose(0, 1))
        else:
            x.index_copy_(0, rows, some.view(self.n, -1, *some.shape[1:]).transpose(1, 2).flatten(0, 1))


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _stacks(lengths_q: tuple[int, ...], lengths_k: tuple[int, ...]) -> list[Stack]:
    """The sequences of a flat batch; short ones of equal lengths are put together."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, pair in enumerate(zip(lengths_q, lengths_k, strict=True)):
        alike.setdefault(pair if pair[0] * pair[1] <= STACKED * STACKED else (*pair, i), []).append(i)
    ends = [list(accumulate(lengths, initial=0)) for lengths in (lengths_q, lengths_k)]
    stacks = []
    for (length_q, length_k, *_), members in alike.items():
        rows: list[Tensor | tuple[int, int]] = []
        for length, starts in ((length_q, ends[0]), (length_k, ends[1])):
            first = torch.tensor([starts[i] for i in members])
            alone = (starts[members[0]], length)
            rows.append(alone if len(members) == 1 else (first[:, None] + torch.arange(length)).flatten())
        stacks.append(Stack(len(members), length_q, length_k, *rows))
    return stacks


class _BySequence(torch.autograd.Function):
    """Attention of each stack of sequences, by one of two kernels, differentiated as a whole.

    Written out because autograd would keep a dozen nodes for every sequence, which costs more than short ones take.
    """

    @staticmethod
    def forward(ctx, q, k, v, stacks, causal, dropout):  # (T, H, D) each
        q = q * q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        learning = any(ctx.needs_input_grad)
        kept, flash = [], []
        for stack in stacks:
            some = stack.take_all(q, k, v)
            flash.append(_flash_is_faster(stack, q.element_size(), learning, dropout))
            if flash[-1]:
                result, *parts = FLASH(*(x[None] for x in some), 0.0, causal, scale=1.0)
            else:
                result = stack.room(out, stack.rows_q)
                parts = _products(*some, result, causal, dropout)
            if learning:
                kept += parts
            if stack.n > 1 or flash[-1]:
                stack.put(out, stack.rows_q, result[0] if flash[-1] else result)
        if learning:
            ctx.save_for_backward(q, k, v, out, *kept)
            ctx.stacks, ctx.flash, ctx.causal, ctx.dropout = stacks, flash, causal, dropout
        return out

    @staticmethod
    def backward(ctx, grad_out):
        q, k, v, out, *kept = ctx.saved_tensors
        grads = [torch.empty(x.shape, dtype=x.dtype) for x in (q, k, v)]
        kept = iter(kept)
        for stack, flash in zip(ctx.stacks, ctx.flash, strict=True):
            some, grad = stack.take_all(q, k, v), stack.take(grad_out, stack.rows_q)
            places = list(zip(grads, (stack.rows_q, stack.rows_k, stack.rows_k), strict=True))
            if flash:
                given = (x[None] for x in (grad, *some, stack.take(out, stack.rows_q)))
                results = FLASH_BACKWARD(*given, next(kept), 0.0, ctx.causal, scale=1.0)
            else:
                results = [stack.room(*place) for place in places]
                _products_backward(grad, *some, *results, kept, ctx.dropout)
            for (x, rows), result in zip(places, results, strict=True) if stack.n > 1 or flash else ():
                stack.put(x, rows, result[0] if flash else result)
        grads[0].mul_(q.shape[-1] ** -0.5)
        return *grads, None, None, None


def _flash_is_faster(stack: Stack, element_size: int, learning: bool, dropout: float) -> bool:
    """Whether the flash kernel is to be used; it can drop nothing, and its gradient is slow in half precision."""
    if dropout:
        return False
    if not learning:
        return True
    weights = stack.length_q * stack.length_k
    return weights > (SHORT * SHORT if element_size > 2 else LONG * LONG)


def _products(q: Tensor, k: Tensor, v: Tensor, out: Tensor, causal: bool, dropout: float) -> list[Tensor]:
    """Two batched products with a softmax between. q: (n H, Lq, D); k, v: (n H, Lk, D); out: as q, is written.

    Returns what the gradient needs: of some heads at a time the weights, and what was dropped.
    """
    kept = []
    for qi, ki, vi, oi in _heads((q, k, v), (out,)):
        scores = torch.bmm(qi, ki.transpose(1, 2))
        if causal:
            scores += _causal_mask(scores.shape[1], scores.dtype)
        weights = torch.softmax(scores, -1)  # sums in fp32, whatever the type
        kept.append(weights)
        if dropout:
            kept.append(F.dropout(torch.ones_like(weights), dropout))
            weights = weights * kept[-1]
        torch.bmm(weights, vi, out=oi)
    return kept


def _products_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grad_q: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
    kept: Iterator[Tensor],
    dropout: float,
) -> None:
    """Write the gradients of q, k and v."""
    for qi, ki, vi, gi, gqi, gki, gvi in _heads((q, k, v, grad), (grad_q, grad_k, grad_v)):
        weights = next(kept)
        mask = next(kept) if dropout else None
        torch.bmm((weights if mask is None else weights * mask).transpose(1, 2), gi, out=gvi)
        grad_weights = torch.bmm(gi, vi.transpose(1, 2))
        if mask is not None:
            grad_weights *= mask
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        torch.bmm(grad_scores, ki, out=gqi)
        torch.bmm(grad_scores.transpose(1, 2), qi, out=gki)


def _heads(read: Sequence[Tensor], written: Sequence[Tensor]) -> Iterable[Sequence[Tensor]]:
    """Some heads of tensors (n H, L, D) at a time, as many as have their weights in a core's own cache."""
    at_once = max(1, IN_CACHE // (read[0].shape[1] * read[1].shape[1]))
    whole = (*(x.contiguous() for x in read), *written)  # the copy inside bmm is slower
    return [whole] if len(whole[0]) <= at_once else zip(*(x.split(at_once) for x in whole), strict=True)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _mask_of(length: int, dtype: torch.dtype) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=dtype).triu(1)


def _causal_mask(length: int, dtype: torch.dtype) -> Tensor:
    """(L, L) zero on and below the diagonal, minus infinity above: a corner of one kept mask."""
    return _mask_of(-(-length // 256) * 256, dtype)[:length, :length]
