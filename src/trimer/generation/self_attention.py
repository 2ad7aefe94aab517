"""Caches of keys and values for self-attention during generation, one token per step.

Shapes: R rows (sequences being generated), B inputs, K beams of an input, H heads, D width of one head, C capacity
of the cache in tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.models.cpu_attention import products_are_faster

CAPACITY_STEP = 16  # the cache grows by this many tokens


class RowCache:
    """Separate keys and values for each row, for sampling."""

    def __init__(self, rows: int, layers: int, heads: int, width: int, like: Tensor):
        self.rows, self.shape, self.like = rows, (heads, width), like
        self.length, self.capacity = 0, 0
        self.keys: list[Tensor] = [like.new_zeros(0)] * layers
        self.values: list[Tensor] = [like.new_zeros(0)] * layers

    def next_token(self) -> None:
        """Extend the cache by one token of each row."""
        if self.length == self.capacity:
            self.capacity += CAPACITY_STEP
            self.keys = [self._grown(x) for x in self.keys]
            self.values = [self._grown(x) for x in self.values]
        self.length += 1

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v of the new tokens and return their attention to their row. (R, H, D) each -> (R, H D)."""
        keys, values = self.keys[layer], self.values[layer]  # (R, H, C, D)
        keys[:, :, self.length - 1], values[:, :, self.length - 1] = k, v
        scores = torch.bmm(q.flatten(0, 1).unsqueeze(1), keys.flatten(0, 1).transpose(1, 2))  # (R H, 1, C)
        scores[..., self.length :] = float("-inf")
        weights = torch.softmax(scores.float(), -1).to(q.dtype)
        return torch.bmm(weights, values.flatten(0, 1)).view(len(q), -1)

    def select(self, rows: Tensor) -> None:
        """Continue with these rows, in this order."""
        self.rows = len(rows)
        self.keys = [x.index_select(0, rows) for x in self.keys]
        self.values = [x.index_select(0, rows) for x in self.values]

    def _grown(self, old: Tensor) -> Tensor:
        heads, width = self.shape
        new = self.like.new_zeros(self.rows, heads, self.capacity, width)
        if old.numel():
            new[:, :, : old.shape[2]] = old
        return new


class BeamCache:
    """Keys and values that all beams of an input share, with a mask of the tokens that belong to each beam.

    A beam that continues another one copies a row of the mask, and no keys and values. One product computes the
    attention of all beams to the tokens of all beams, most of which are masked. This takes less time than copying the
    cache and computing a product for each beam.
    """

    def __init__(self, inputs: int, beams: int, layers: int, heads: int, width: int, like: Tensor):
        self.inputs, self.beams, self.shape, self.like = inputs, beams, (heads, width), like
        self.length, self.capacity = 0, 0
        self.keys: list[Tensor] = [like.new_zeros(0)] * layers  # (B, H, C K, D): token by token, beam by beam
        self.values: list[Tensor] = [like.new_zeros(0)] * layers
        self.mask = like.new_full((inputs, beams, 0), float("-inf"))  # (B, K, C K), zero for the tokens of a beam
        same_beam = torch.eye(beams, dtype=torch.bool, device=like.device)
        zeros = torch.zeros(beams, beams, dtype=like.dtype, device=like.device)
        self.newest_mask = zeros.masked_fill(~same_beam, float("-inf"))

    def next_token(self) -> None:
        """Extend the cache by one token of each beam, which this beam alone attends to."""
        if self.length == self.capacity:
            self.capacity += CAPACITY_STEP
            self.keys = [self._grown(x) for x in self.keys]
            self.values = [self._grown(x) for x in self.values]
            self.mask = F.pad(self.mask, (0, CAPACITY_STEP * self.beams), value=float("-inf"))
        self.length += 1
        self.mask[:, :, self._newest()] = self.newest_mask

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Same as `RowCache.attend`, without the rows beyond B K, which are padding. Returns (B K, H D)."""
        real = self.inputs * self.beams
        q, k, v = (x[:real].view(self.inputs, self.beams, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self._newest()], values[:, :, self._newest()] = k, v
        if q.device.type == "cpu" and products_are_faster(q.dtype):
            scores = torch.bmm(q.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2)).view(*q.shape[:3], -1)
            weights = torch.softmax(scores.add_(self.mask[:, None]), -1)
            out = torch.bmm(weights.flatten(0, 1), values.flatten(0, 1)).view_as(q)
        else:
            out = F.scaled_dot_product_attention(q, keys, values, self.mask[:, None], scale=1.0)
        return out.transpose(1, 2).reshape(real, -1)

    def select(self, rows: Tensor) -> None:
        """Continue with these rows: K for each remaining input, all of them rows of the same input."""
        rows = rows.view(-1, self.beams)
        inputs = rows[:, 0] // self.beams
        if len(inputs) < self.inputs:
            self.keys = [x.index_select(0, inputs) for x in self.keys]
            self.values = [x.index_select(0, inputs) for x in self.values]
        self.mask = self.mask.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, -1)
        self.inputs = len(inputs)

    def _newest(self) -> slice:
        """Indices of the last token of each beam."""
        return slice((self.length - 1) * self.beams, self.length * self.beams)

    def _grown(self, old: Tensor) -> Tensor:
        heads, width = self.shape
        new = self.like.new_zeros(self.inputs, heads, self.capacity * self.beams, width)
        if old.numel():
            new[:, :, : old.shape[2]] = old
        return new
