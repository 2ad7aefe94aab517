"""BART decoder with caches, which generates many sequences in parallel, one token per step.

The encoder and the keys and values of cross-attention are computed once per input, whatever the number of sequences
generated for it. Self-attention caches the keys and values of earlier tokens (`trimer.generation.self_attention`).
Weights are converted to the dtype of the products once. Rows (sequences being generated) can be removed or reordered at
any step.

The result of a row does not depend on other rows: its padding depends on its input only, and matrix products have at
least four rows, because some libraries sum in another order below that.

Shapes: R rows, B inputs, H heads, D width of one head, L source length, A allowed tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.generation.packed_linear import PackedLinear
from trimer.generation.self_attention import BeamCache, RowCache
from trimer.models.bart import POSITION_OFFSET, Bart

BOS, EOS = 0, 2
FEWEST_ROWS = 4
LENGTH_STEP = 64  # sources are padded to multiples of this; inputs of equal padded length share products


@dataclass
class LayerWeights:
    """One decoder layer, in the dtype of the products; queries are scaled by D^-0.5 in advance."""

    self_in: PackedLinear
    self_out: PackedLinear
    cross_in: PackedLinear
    cross_out: PackedLinear
    up: PackedLinear
    down: PackedLinear
    norms: list[tuple[Tensor, Tensor]]


@dataclass
class Group:
    """Inputs of one padded source length, and the rows being generated for them.

    keys: per layer (inputs, H, D, L), values: per layer (inputs, H, L, D), mask: (inputs, 1, 1, L) zero or -inf, None
    without padding. rows: (inputs, n) rows of each input, where the last one is repeated up to n.
    """

    inputs: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor | None
    rows: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.long))  # set by `_regroup`


class CachedDecoder:
    """Generation with the decoder of `net` for the inputs `source`, with `rows_per_input` rows for each.

    beams: whether rows may continue other rows of the same input; all rows of an input are then removed together.
    allowed: (A,) ids of the allowed tokens; scores are those of these tokens, in this order.
    dtype: of the products; by default that of autocast if it is enabled, otherwise that of the weights.
    """

    def __init__(
        self,
        net: Bart,
        source: Flat,
        rows_per_input: int,
        allowed: Tensor,
        dtype: torch.dtype | None = None,
        beams: bool = False,
    ):
        device = net.tokens.weight.device
        if dtype is None:
            autocast = torch.is_autocast_enabled(device.type)
            dtype = torch.get_autocast_dtype(device.type) if autocast else net.tokens.weight.dtype
        self.device, self.dtype = device, dtype
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != net.tokens.weight.dtype):
            memory = net.encode(source).to(dtype)
        self.activation = net.decoder[0].feed_forward.activation
        self.heads = net.decoder[0].self_attention.heads
        self.d_model, self.scale = net.d_model, net.decoder_embedding.scale
        self.embedding, self.positions = net.tokens.weight, net.decoder_embedding.positions.weight
        self.embedding_norm = self._norm(net.decoder_embedding.norm)
        self.rows = len(source) * rows_per_input  # at the start
        self.output = PackedLinear(
            net.tokens.weight[allowed].to(dtype), net.final_logits_bias[allowed].to(dtype), self.rows
        )
        self.layers = [self._weights(layer) for layer in net.decoder]
        self.groups = self._groups(net, memory, source)

        self.input_of_row = with_enough_rows(torch.arange(len(source), device=device).repeat_interleave(rows_per_input))
        shape = (len(self.layers), self.heads, self.d_model // self.heads, memory)
        self.cache = (
            BeamCache(len(source), rows_per_input, *shape) if beams else RowCache(len(self.input_of_row), *shape)
        )
        self._regroup()

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row and return the scores of the next one. (R,) -> (R, A) fp32."""
        rows, tokens = len(tokens), with_enough_rows(tokens)
        with torch.autocast(self.device.type, enabled=False):
            position = self.cache.length
            self.cache.next_token()
            x = F.embedding(tokens, self.embedding) * self.scale + self.positions[position + POSITION_OFFSET]
            x = F.layer_norm(x.float(), (self.d_model,), *self.embedding_norm).to(self.dtype)
            for i, layer in enumerate(self.layers):
                x = self._normed(x, layer.self_out(self._self_attention(x, i)), layer.norms[0])
                x = self._normed(x, layer.cross_out(self._cross_attention(x, i)), layer.norms[1])
                y = layer.down(self.activation(layer.up(x)))
                x = self._normed(x, y, layer.norms[2])
            return self.output(x).float()[:rows]

    def select(self, rows: Tensor, same_inputs: bool = False) -> None:
        """Continue with these rows, in this order; rows may be repeated.

        same_inputs: every row replaces one of the same input, so that the host does not have to read them.
        """
        filled = with_enough_rows(rows)
        self.input_of_row = self.input_of_row[filled]
        self.cache.select(rows if isinstance(self.cache, BeamCache) else filled)
        if not same_inputs:
            self._regroup()

    # ---------------------------------------------------------------- sub-layers

    def _self_attention(self, x: Tensor, i: int) -> Tensor:
        q, k, v = self.layers[i].self_in(x).view(len(x), 3, self.heads, -1).unbind(1)  # (R, H, D)
        return with_enough_rows(self.cache.attend(i, q, k, v))

    def _cross_attention(self, x: Tensor, i: int) -> Tensor:
        q = self.layers[i].cross_in(x)  # (R, H D)
        outputs = []
        for group in self.groups:
            inputs, n = group.rows.shape
            queries = q.index_select(0, group.rows.flatten()).view(inputs, n, self.heads, -1).transpose(1, 2)
            scores = torch.bmm(queries.reshape(inputs * self.heads, n, -1), group.keys[i].flatten(0, 1))
            if group.mask is not None:
                scores.view(inputs, self.heads, n, -1).add_(group.mask)
            weights = torch.softmax(scores, -1)  # summed in fp32, whatever the dtype
            out = torch.bmm(weights, group.values[i].flatten(0, 1))  # (B H, n, D)
            outputs.append(out.view(inputs, self.heads, n, -1).transpose(1, 2).reshape(inputs * n, -1))
        return torch.cat(outputs).index_select(0, self.index_of_row)

    def _normed(self, residual: Tensor, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        if self.device.type == "cpu":  # supports half-precision input with fp32 weights
            return F.layer_norm(residual + x, (self.d_model,), *norm)
        return F.layer_norm((residual + x).float(), (self.d_model,), *norm).to(self.dtype)

    # ---------------------------------------------------------------- preparation

    def _weights(self, layer) -> LayerWeights:
        attention, cross, ffn = layer.self_attention, layer.cross_attention, layer.feed_forward
        scale = torch.ones(3 * self.d_model, device=self.device)
        scale[: self.d_model] = (self.d_model // self.heads) ** -0.5
        norms = (layer.self_attention_norm, layer.cross_attention_norm, layer.feed_forward_norm)
        return LayerWeights(
            self_in=self._linear(attention.query_key_value, scale),
            self_out=self._linear(attention.output),
            cross_in=self._linear(cross.query, scale[: self.d_model]),
            cross_out=self._linear(cross.output),
            up=self._linear(ffn.up),
            down=self._linear(ffn.down),
            norms=[self._norm(norm.norm) for norm in norms],
        )

    def _linear(self, module, scale: Tensor | None = None) -> PackedLinear:
        weight, bias = module.weight, module.bias
        if scale is not None:
            weight, bias = weight * scale[:, None], bias * scale
        return PackedLinear(weight.to(self.dtype), bias.to(self.dtype), self.rows)

    @staticmethod
    def _norm(module) -> tuple[Tensor, Tensor]:
        return module.weight.float(), module.bias.float()

    def _groups(self, net: Bart, memory: Tensor, source: Flat) -> list[Group]:
        by_length: dict[int, list[int]] = {}
        for i, size in enumerate(source.sizes):
            by_length.setdefault(-(-size // LENGTH_STEP) * LENGTH_STEP, []).append(i)
        sequences = memory.split(source.sizes)
        groups = []
        for length, inputs in by_length.items():
            padded = memory.new_zeros(len(inputs), length, self.d_model)
            mask = torch.full((len(inputs), 1, 1, length), float("-inf"), dtype=self.dtype, device=self.device)
            for k, i in enumerate(inputs):
                padded[k, : source.sizes[i]] = sequences[i]
                mask[k, ..., : source.sizes[i]] = 0
            keys, values = [], []
            for layer in net.decoder:
                module = layer.cross_attention.key_value
                pair = F.linear(padded, module.weight.to(self.dtype), module.bias.to(self.dtype)).view(
                    len(inputs), length, 2, self.heads, -1
                )
                keys.append(pair[:, :, 0].permute(0, 2, 3, 1).contiguous())
                values.append(pair[:, :, 1].transpose(1, 2).contiguous())
            groups.append(
                Group(
                    torch.tensor(inputs, device=self.device),
                    keys,
                    values,
                    mask if any(source.sizes[i] < length for i in inputs) else None,
                )
            )
        return groups

    def _regroup(self) -> None:
        """Update the rows of each input, and remove inputs without rows."""
        rows_of: dict[int, list[int]] = {}
        for row, i in enumerate(self.input_of_row.tolist()):
            rows_of.setdefault(i, []).append(row)
        index_of_row, start, kept = [0] * len(self.input_of_row), 0, []
        for group in self.groups:
            inputs = group.inputs.tolist()
            live = [k for k, i in enumerate(inputs) if i in rows_of]
            if not live:
                continue
            if len(live) < len(inputs):
                chosen = torch.tensor(live, device=self.device)
                group.inputs = group.inputs[chosen]
                group.keys = [x[chosen] for x in group.keys]
                group.values = [x[chosen] for x in group.values]
                group.mask = None if group.mask is None else group.mask[chosen]
            rows = [rows_of[inputs[k]] for k in live]
            n = max(FEWEST_ROWS, max(map(len, rows)))
            for k, input_rows in enumerate(rows):
                for column, row in enumerate(input_rows):
                    index_of_row[row] = start + k * n + column
            group.rows = torch.tensor([r + r[-1:] * (n - len(r)) for r in rows], device=self.device)
            start += len(rows) * n
            kept.append(group)
        self.groups = kept
        self.index_of_row = torch.tensor(index_of_row, device=self.device)


def with_enough_rows(rows: Tensor) -> Tensor:
    """(R, ...) with the last entry repeated up to FEWEST_ROWS."""
    missing = max(FEWEST_ROWS - len(rows), 0)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def allowed_ids(net: Bart, allowed_tokens: tuple[int, int] | Tensor | None) -> Tensor:
    """(A,) ids of allowed tokens: all, range(start, stop), or where a (V,) mask is true; `</s>` is always allowed."""
    mask = torch.ones(net.vocab_size, dtype=torch.bool)
    if isinstance(allowed_tokens, Tensor):
        mask = allowed_tokens.detach().to("cpu", torch.bool).clone()
    elif allowed_tokens is not None:
        start, stop = allowed_tokens
        mask[:start], mask[stop:] = False, False
    if len(mask) != net.vocab_size:
        raise ConfigError(f"the mask of allowed tokens has {len(mask)} entries, but the model {net.vocab_size} tokens")
    mask[EOS] = True
    if int(mask.sum()) < 2:
        raise ConfigError("no token except </s> is allowed, so nothing can be generated: pass a larger allowed_tokens")
    return mask.nonzero().squeeze(1).to(net.tokens.weight.device)


def check_length(net: Bart, max_length: int) -> None:
    """ConfigError if sequences of this length are too long for the model."""
    if not 2 <= max_length <= net.max_positions:
        raise ConfigError(
            f"generator.max_length={max_length} must be 2 to {net.max_positions}, the positions of the model"
        )


def not_finite() -> InputError:
    """The error for NaN or infinite scores."""
    return InputError(
        "the weights of this model are not finite: the training diverged; use an earlier checkpoint or a lower "
        "optimizer.lr"
    )


@dataclass
class Hypothesis:
    """A generated sequence.

    tokens: ids after `<s>`, with `</s>` if it was reached. log_likelihood: sum of log p of these tokens among the
    allowed ones, at temperature 1. score: by which beam search ranks; the log-likelihood for samples.
    """

    tokens: list[int]
    log_likelihood: float
    score: float = math.nan
