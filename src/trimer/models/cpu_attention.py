"""Attention over flat batches on the CPU, sequence by sequence, by the faster of two kernels.

- torch's flash kernel, which never holds all weights.
- Two batched matrix products with a softmax between: with dropout, which the flash kernel does not support, when
  training in half precision, where its gradient is slow, and for predictions in bf16 on CPUs where they were measured
  to be faster.

Shapes: T tokens in a flat batch, B sequences, H heads, D width of one head, L length of one sequence, n sequences of a
stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.accelerators.cpu_speed import flash_is_faster_in_bf16

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


def attention_by_sequence(
    q: Tensor, k: Tensor, v: Tensor, lengths_q: Sequence[int], lengths_k: Sequence[int], causal: bool, dropout: float
) -> Tensor:
    """`attention` of a flat batch on the CPU."""
    with torch.autocast("cpu", enabled=False):
        return _BySequence.apply(q, k, v, _stacks(tuple(lengths_q), tuple(lengths_k)), causal, dropout)


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
        length = len(rows) // self.n  # may be 0, so `view` cannot infer it
        return x.index_select(0, rows).view(self.n, length, *x.shape[1:]).transpose(1, 2).flatten(0, 1)

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
            heads = x.shape[1]
            x.index_copy_(0, rows, result.view(self.n, heads, *result.shape[1:]).transpose(1, 2).flatten(0, 1))


# Cached tensors are created outside inference mode: one created inside could not be used in a later training.


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
    """Whether to use the flash kernel.

    It does not support dropout, ends the process at a sequence without tokens, and its gradient is slow in half
    precision.
    """
    half, weights = dtype.itemsize == 2, stack.length_q * stack.length_k
    if dropout or not weights:
        return False
    if training:
        return weights > (LONG * LONG if half else SHORT * SHORT)
    # Whatever else is in the batch: a prediction does not depend on the others.
    return weights > LONG * LONG or not products_are_faster(dtype)


def products_are_faster(dtype: torch.dtype) -> bool:
    """Whether products with a softmax between are faster for predictions than the flash kernel."""
    return dtype == torch.bfloat16 and not flash_is_faster_in_bf16()


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
            scores += _causal_mask(scores)
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

    torch's softmax over weights of another width takes up to five times as long: it reads the last ones singly.
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


def _causal_mask(scores: Tensor) -> Tensor:
    """(Lq, Lk) for scores (n H, Lq, Lk): zero on and below the diagonal, minus infinity above; part of a cached one."""
    _, rows, columns = scores.shape
    return _cached_mask(-(-columns // 256) * 256, scores.dtype)[:rows, :columns]
