"""Attention over flat batches, computed in four ways with the same result.

A flat batch concatenates B sequences, and a query may only see the keys of the sequence that it belongs to.
- On the CPU, sequence by sequence: torch's flash kernel, which never holds all weights. Two batched matrix products
  replace it with dropout, which it does not support, when training in half precision, where its gradient is slow, and
  for predictions in half precision on CPUs where they were measured to be faster.
- On CUDA in half precision: `torch.nn.attention.varlen`, the variable-length flash kernel.
- Elsewhere: rows padded to the longest sequence, with a mask.
- Static batches already have rows, each with several sequences: a mask separates the sequences of a row.

Shapes: T tokens in a flat batch, B sequences, H heads, D width of one head, L length of one sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.accelerators.cpu_speed import flash_is_faster_in_bf16
from trimer.flat import Rows

varlen_attn: Any
try:  # torch 2.9, which the TPU stack needs, does not have it
    from torch.nn.attention import varlen

    varlen_attn = varlen.varlen_attn
except ImportError:
    varlen_attn = None
# Lengths in tokens, for the CPU. Up to STACKED, sequences of equal length share a call, because a call costs more than
# their computation. Up to SHORT, two products are faster than the flash kernel when training in fp32 too. Above LONG,
# weights (H, L, L) are never stored, except with dropout: those of titin would take 100 GB. The same lengths were
# measured with and without AMX.
STACKED, SHORT, LONG = 48, 128, 2048
VECTOR = 32  # half precision: values in the longest vector registers of a CPU, of 512 bits
IN_CACHE = 2**20  # attention weights computed at a time: 2 MB in half precision, the cache of one core
FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
SOFTMAX_BACKWARD = torch.ops.aten._softmax_backward_data.out
# The argument for causal attention: `is_causal` in older versions, `window_size` since torch 2.11.
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
    """Attention of every token to the tokens of its sequence: softmax(q k^T / sqrt(D)) v.

    q: (Tq, H, D); k, v: (Tk, H, D). lengths_q, lengths_k: B integers that sum to Tq and Tk; for a static batch, its
    rows (`Flat.layout`), with each sequence in the same row for queries and keys. causal: position i sees the keys
    0..i, so lengths_q equals lengths_k. dropout: fraction of attention weights set to zero, 0 outside training.
    Returns (Tq, H, D). The result of a sequence does not depend on the others in the batch.
    """
    if isinstance(lengths_q, Rows) and isinstance(lengths_k, Rows):
        return _in_rows(q, k, v, lengths_q, lengths_k, causal, dropout)
    if isinstance(lengths_q, Rows) or isinstance(lengths_k, Rows):
        raise TypeError("queries and keys must both be those of a static batch, or both those of a flat one")
    if q.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):
            return _BySequence.apply(q, k, v, _stacks(tuple(lengths_q), tuple(lengths_k)), causal, dropout)
    if _flash_can_run(q, dropout):
        return _variable_length(q, k, v, lengths_q, lengths_k, causal)
    return _padded(q, k, v, lengths_q, lengths_k, causal, dropout)


def attention_maps(q: Tensor, k: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Attention weights softmax(q k^T / sqrt(D)) of each sequence: B tensors of (H, L, L). q, k: (T, H, D)."""
    pairs = zip(q.split(tuple(lengths)), k.split(tuple(lengths)), strict=True)
    scale = q.shape[-1] ** -0.5
    return [torch.softmax((qi.transpose(0, 1) * scale) @ ki.permute(1, 2, 0), -1) for qi, ki in pairs]


def _in_rows(q: Tensor, k: Tensor, v: Tensor, rows_q: Rows, rows_k: Rows, causal: bool, dropout: float) -> Tensor:
    """Attention of a static batch: flash attention on CUDA if it is possible, else with a mask (R, Lq, Lk)."""
    segments_q, segments_k = rows_q.segments, rows_k.segments
    if rows_q.bounds is not None and rows_k.bounds is not None and _flash_can_run(q, dropout):
        # Only the shapes are numbers of the host, so this is compiled once.
        longest_q, longest_k = segments_q.shape[1], segments_k.shape[1]
        return varlen_attn(q, k, v, rows_q.bounds, rows_k.bounds, longest_q, longest_k, **_window(causal))
    allowed = segments_q[:, :, None] == segments_k[:, None, :]  # (R, Lq, Lk)
    if causal:
        allowed = allowed & torch.ones_like(allowed[0]).tril()
    # Finite instead of -inf: padding on one side may have no key on the other, and 0 / 0 would reach the gradients.
    mask = torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill(
        ~allowed, torch.finfo(q.dtype).min / 2
    )
    rows = segments_q.shape[0]  # `len` would be a constant of an exported program
    q, k, v = (x.view(rows, -1, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))  # (R, H, L, D)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], dropout_p=dropout)
    return out.transpose(1, 2).flatten(0, 1)


def _flash_can_run(q: Tensor, dropout: float) -> bool:
    half = q.dtype in (torch.bfloat16, torch.float16)
    fits = q.shape[-1] % 8 == 0 and q.shape[-1] <= 256
    return varlen_attn is not None and q.is_cuda and half and fits and not dropout


def _variable_length(
    q: Tensor, k: Tensor, v: Tensor, lengths_q: Sequence[int], lengths_k: Sequence[int], causal: bool
) -> Tensor:
    starts_q = _starts(tuple(lengths_q), q.device)
    starts_k = starts_q if lengths_k is lengths_q else _starts(tuple(lengths_k), q.device)
    return varlen_attn(q, k, v, starts_q, starts_k, max(lengths_q), max(lengths_k), **_window(causal))


def _window(causal: bool) -> dict[str, Any]:
    """The argument of `varlen_attn` for causal attention."""
    return {"window_size": (-1, 0 if causal else -1)} if _CAUSAL_WINDOW else {"is_causal": causal}


# Cached tensors are created outside inference mode: one created inside could not be used in a later training.


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _starts(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """(B + 1,) int32 cumulative lengths, the same for every layer of a step."""
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
    rows_q, _, positions = _rows(tuple(lengths_q), q.device)
    rows_k, mask, _ = _rows(tuple(lengths_k), q.device)
    if causal:
        mask = mask & torch.ones(rows_q.shape[1], rows_k.shape[1], dtype=torch.bool, device=q.device).tril()
    q, k, v = (x[rows].transpose(1, 2) for x, rows in ((q, rows_q), (k, rows_k), (v, rows_k)))  # (B, H, L, D)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return out.transpose(1, 2).flatten(0, 1)[positions]


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _rows(lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Indices that turn a flat batch into padded rows and back.

    (B, L) index in T of each token of each row, where padding repeats the last token; (B, 1, 1, L) mask of the real
    tokens; (T,) index of each token in the concatenated rows.
    """
    sizes, longest = torch.tensor(lengths), max(lengths)
    columns = torch.arange(longest).expand(len(lengths), -1)
    real = columns < sizes[:, None]
    rows = (sizes.cumsum(0) - sizes)[:, None] + columns.minimum((sizes - 1)[:, None]).clamp(min=0)
    positions = real.flatten().nonzero().squeeze(1)
    return rows.to(device), real[:, None, None, :].to(device), positions.to(device)


class Stack(NamedTuple):
    """n sequences of one length, computed together.

    rows_q, rows_k: their tokens in the flat batch, as indices, or as start and length for a single sequence.
    """

    n: int
    length_q: int
    length_k: int
    rows_q: Tensor | tuple[int, int]
    rows_k: Tensor | tuple[int, int]

    def take(self, x: Tensor, rows: Tensor | tuple[int, int]) -> Tensor:
        """(n H, L, D) of x (T, H, D): a view for a single sequence."""
        if isinstance(rows, tuple):
            return x.narrow(0, *rows).transpose(0, 1)
        return x.index_select(0, rows).view(self.n, -1, *x.shape[1:]).transpose(1, 2).flatten(0, 1)

    def take_all(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.take(q, self.rows_q), self.take(k, self.rows_k), self.take(v, self.rows_k)

    def output_buffer(self, x: Tensor, rows: Tensor | tuple[int, int]) -> Tensor:
        """(n H, L, D) buffer for a result that `put` copies; for a single sequence it is a view of x."""
        if isinstance(rows, tuple):
            return self.take(x, rows)
        return x.new_empty(self.n * x.shape[1], len(rows) // self.n, x.shape[2])

    def put(self, x: Tensor, rows: Tensor | tuple[int, int], result: Tensor) -> None:
        """Copy a result (n H, L, D) to the rows of x (T, H, D)."""
        if isinstance(rows, tuple):
            x.narrow(0, *rows).copy_(result.transpose(0, 1))
        else:
            x.index_copy_(0, rows, result.view(self.n, -1, *result.shape[1:]).transpose(1, 2).flatten(0, 1))


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _stacks(lengths_q: tuple[int, ...], lengths_k: tuple[int, ...]) -> list[Stack]:
    """The sequences of a flat batch, with short sequences of equal lengths stacked."""
    by_lengths: dict[tuple[int, ...], list[int]] = {}
    for i, pair in enumerate(zip(lengths_q, lengths_k, strict=True)):
        by_lengths.setdefault(pair if pair[0] * pair[1] <= STACKED * STACKED else (*pair, i), []).append(i)
    ends = [list(accumulate(lengths, initial=0)) for lengths in (lengths_q, lengths_k)]
    stacks = []
    for (length_q, length_k, *_), members in by_lengths.items():
        rows: list[Tensor | tuple[int, int]] = []
        for length, starts in ((length_q, ends[0]), (length_k, ends[1])):
            first = torch.tensor([starts[i] for i in members])
            single = (starts[members[0]], length)
            rows.append(single if len(members) == 1 else (first[:, None] + torch.arange(length)).flatten())
        stacks.append(Stack(len(members), length_q, length_k, *rows))
    return stacks


class _BySequence(torch.autograd.Function):
    """Attention of each stack of sequences by one of two kernels, as a single node of autograd.

    Autograd would keep a dozen nodes for every sequence, which costs more time than short sequences take.
    """

    @staticmethod
    def forward(ctx, q, k, v, stacks: list[Stack], causal: bool, dropout: float):  # (T, H, D) each
        q = q * q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        training = any(ctx.needs_input_grad)
        saved: list[Tensor] = []
        flash: list[bool] = []
        for stack in stacks:
            qi, ki, vi = stack.take_all(q, k, v)
            flash.append(_flash_is_faster(stack, q.dtype, training, dropout))
            if flash[-1]:
                result, *for_gradient = FLASH(qi[None], ki[None], vi[None], 0.0, causal, scale=1.0)
            else:
                result = stack.output_buffer(out, stack.rows_q)
                for_gradient = _products(qi, ki, vi, result, causal, dropout, training)
            if training:
                saved += for_gradient
            if stack.n > 1 or flash[-1]:
                stack.put(out, stack.rows_q, result[0] if flash[-1] else result)
        if training:
            ctx.save_for_backward(*((q, k, v, out) if any(flash) else ()), *saved)
            ctx.stacks, ctx.flash, ctx.causal, ctx.dropout = stacks, flash, causal, dropout
            ctx.shapes = (q.shape, k.shape, v.shape)
        return out

    @staticmethod
    def backward(ctx, grad_out):
        remaining = iter(ctx.saved_tensors)
        q, k, v, out = islice(remaining, 4) if any(ctx.flash) else [grad_out] * 4  # only those for flash are needed
        grads = [grad_out.new_empty(shape) for shape in ctx.shapes]
        for stack, flash in zip(ctx.stacks, ctx.flash, strict=True):
            grad = stack.take(grad_out, stack.rows_q)
            destinations = list(zip(grads, (stack.rows_q, stack.rows_k, stack.rows_k), strict=True))
            if flash:
                arguments = (x[None] for x in (grad, *stack.take_all(q, k, v), stack.take(out, stack.rows_q)))
                results = FLASH_BACKWARD(*arguments, next(remaining), 0.0, ctx.causal, scale=1.0)
            else:
                results = [stack.output_buffer(*destination) for destination in destinations]
                _products_backward(grad, results, remaining, ctx.dropout)
            for (x, rows), result in zip(destinations, results, strict=True) if stack.n > 1 or flash else ():
                stack.put(x, rows, result[0] if flash else result)
        grads[0].mul_(grad_out.shape[-1] ** -0.5)
        return *grads, None, None, None


def _flash_is_faster(stack: Stack, dtype: torch.dtype, training: bool, dropout: float) -> bool:
    """Whether to use the flash kernel. It does not support dropout, and its gradient is slow in half precision."""
    if dropout:
        return False
    half, weights = dtype.itemsize == 2, stack.length_q * stack.length_k
    if training:
        return weights > (LONG * LONG if half else SHORT * SHORT)
    # Whatever else is in the batch: a prediction does not depend on the others.
    return dtype != torch.bfloat16 or weights > LONG * LONG or flash_is_faster_in_bf16()


def _products(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, causal: bool, dropout: float, training: bool
) -> list[Tensor]:
    """Two batched products with a softmax between. q: (n H, Lq, D); k, v: (n H, Lk, D); out: shape of q, is written.

    Returns the tensors for the gradient: for each group of heads its inputs and weights and, with dropout, their mask.
    """
    saved, buffer, length_k = [], None, k.shape[1]
    q, k, v = q.contiguous(), _whole_vectors(k), _whole_vectors(v)  # the copy inside bmm is slower
    at_once = max(1, IN_CACHE // max(1, q.shape[1] * k.shape[1]))
    for qi, ki, vi, oi in zip(*(x.split(at_once) for x in (q, k, v, out)), strict=True):
        scores = _part_of(buffer, qi, ki)
        torch.bmm(qi, ki.transpose(1, 2), out=scores)
        if causal:
            scores += _causal_mask(*scores.shape[1:], scores.dtype)
        elif ki.shape[1] > length_k:
            scores[:, :, length_k:] = float("-inf")
        weights = torch.softmax(scores, -1, out=scores)  # summed in fp32, whatever the dtype
        if training:
            saved += [qi, ki, vi, weights]
        else:
            buffer = scores if buffer is None else buffer
        if dropout:
            saved.append(F.dropout(torch.ones_like(weights), dropout))
            weights = weights * saved[-1]
        torch.bmm(weights, vi, out=oi)
    return saved


def _whole_vectors(x: Tensor) -> Tensor:
    """x (n H, L, D) with zeros after the keys up to a multiple of VECTOR, in half precision.

    torch's softmax over weights of another width takes twice the time or more: it reads the last ones singly.
    """
    missing = -x.shape[1] % VECTOR
    return F.pad(x, (0, 0, 0, missing)) if missing and x.element_size() == 2 else x.contiguous()


def _part_of(buffer: Tensor | None, q: Tensor, k: Tensor) -> Tensor:
    """(n, Lq, Lk) memory for the weights of queries and keys, in the buffer if there is one."""
    shape = (len(q), q.shape[1], k.shape[1])
    return q.new_empty(shape) if buffer is None else buffer[: len(q)]


def _products_backward(grad: Tensor, grads: Sequence[Tensor], saved: Iterator[Tensor], dropout: float) -> None:
    """Write the gradients of q, k and v to `grads`. grad: (n H, Lq, D); saved: what `_products` returned."""
    grad, buffer, start = grad.contiguous(), None, 0
    while start < len(grad):
        q, k, v, weights = islice(saved, 4)
        mask = next(saved) if dropout else None
        g, grad_q, grad_k, grad_v = (x[start : start + len(q)] for x in (grad, *grads))
        _write_product(grad_v, (weights if mask is None else weights * mask).transpose(1, 2), g)
        grad_weights = _part_of(buffer, g, v)
        torch.bmm(g, v.transpose(1, 2), out=grad_weights)
        if mask is not None:
            grad_weights *= mask
        grad_scores = SOFTMAX_BACKWARD(grad_weights, weights, -1, weights.dtype, grad_input=grad_weights)
        torch.bmm(grad_scores, k, out=grad_q)
        _write_product(grad_k, grad_scores.transpose(1, 2), q)
        buffer = grad_weights if buffer is None else buffer
        start += len(q)


def _write_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Write left @ right to `out`, whose rows may be fewer: those that `_whole_vectors` added are left out."""
    if left.shape[1] == out.shape[1]:
        torch.bmm(left, right, out=out)
    else:
        out.copy_(torch.bmm(left, right)[:, : out.shape[1]])


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _cached_mask(length: int, dtype: torch.dtype) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=dtype).triu(1)


def _causal_mask(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """(rows, columns) zero on and below the diagonal, minus infinity above; a corner of a larger cached mask."""
    return _cached_mask(-(-columns // 256) * 256, dtype)[:rows, :columns]
