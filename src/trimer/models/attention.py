"""Attention over flat batches, computed in four ways with the same result.

A flat batch concatenates B sequences, and a query may only see the keys of the sequence that it belongs to.
- On the CPU, sequence by sequence (`trimer.models.cpu_attention`).
- On CUDA in half precision: `torch.nn.attention.varlen`, the variable-length flash kernel.
- Elsewhere: rows padded to the longest sequence, with a mask.
- Static batches already have rows, each with several sequences: a mask separates the sequences of a row.

Shapes: T tokens in a flat batch, B sequences, H heads, D width of one head, L length of one sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.flat import Rows
from trimer.models.cpu_attention import attention_by_sequence

varlen_attn: Any
try:  # torch 2.9, which the TPU stack needs, does not have it
    from torch.nn.attention import varlen

    varlen_attn = varlen.varlen_attn
except ImportError:
    varlen_attn = None
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
        return attention_by_sequence(q, k, v, lengths_q, lengths_k, causal, dropout)
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
