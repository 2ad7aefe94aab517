"""A BART decoder that writes many sequences at once, one token a step, and never computes anything twice.

The encoder and the keys and values of cross-attention run once per input, whatever the number of sequences written for
it. Self-attention keeps the keys and values of the tokens written so far (`trimer.generation.self_attention`). Weights
are brought to the dtype of the products once. Rows (sequences being written) can leave, or be reordered, at any step.

What a row gets does not depend on the other rows: lengths are only padded by rules of the row's own input, and matrix
products have at least four rows, below which some libraries sum in another order.

Shapes: R rows, B inputs, H heads, D width of one head, L source length, A tokens that may be written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.generation.packed import PackedLinear
from trimer.generation.self_attention import BeamCache, RowCache
from trimer.models.bart import POSITION_OFFSET, Bart

BOS, EOS = 0, 2
FEWEST_ROWS = 4
LENGTH_STEP = 64  # sources are padded to a multiple of this, and inputs of one padded length share their products


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
    """Inputs of one padded source length, and the rows being written for them.

    keys: per layer (inputs, H, D, L), values: per layer (inputs, H, L, D), mask: (inputs, 1, 1, L) zero or -inf.
    """

    inputs: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor | None
    rows: Tensor | None = None  # (inputs, n) rows of each input, the last repeated up to n


class CachedDecoder:
    """The decoder of a net at work on the inputs of `source`; `rows_per_input` rows are written for each.

    beams: the rows of an input may take over what others of its rows have written, and leave together only.
    allowed: (A,) ids of the tokens that may be written; scores are those of these tokens, in their order.
    dtype: of the products; by default that of autocast where it is on, else that of the weights.
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
            on = torch.is_autocast_enabled(device.type)
            dtype = torch.get_autocast_dtype(device.type) if on else net.tokens.weight.dtype
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

        self.input_of_row = filled_up(torch.arange(len(source), device=device).repeat_interleave(rows_per_input))
        shape = (len(self.layers), self.heads, self.d_model // self.heads, memory)
        self.written = (
            BeamCache(len(source), rows_per_input, *shape) if beams else RowCache(len(self.input_of_row), *shape)
        )
        self._regroup()

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to each row; scores of the next one. (R,) -> (R, A) fp32."""
        wanted, tokens = len(tokens), filled_up(tokens)
        with torch.autocast(self.device.type, enabled=False):
            place = self.written.length
            self.written.next_token()
            x = F.embedding(tokens, self.embedding) * self.scale + self.positions[place + POSITION_OFFSET]
            x = F.layer_norm(x.float(), (self.d_model,), *self.embedding_norm).to(self.dtype)
            for i, layer in enumerate(self.layers):
                x = self._normed(x, layer.self_out(self._self_attention(x, i)), layer.norms[0])
                x = self._normed(x, layer.cross_out(self._cross_attention(x, i)), layer.norms[1])
                y = layer.down(self.activation(layer.up(x)))
                x = self._normed(x, y, layer.norms[2])
            return self.output(x).float()[:wanted]

    def select(self, rows: Tensor, same_inputs: bool = False) -> None:
        """Continue with these rows, in this order; a row may be named several times.

        same_inputs: every row takes the place of one of its own input, so that the host need not look at them.
        """
        filled = filled_up(rows)
        self.input_of_row = self.input_of_row[filled]
        self.written.select(rows if isinstance(self.written, BeamCache) else filled)
        if not same_inputs:
            self._regroup()

    # The parts of a layer.

    def _self_attention(self, x: Tensor, i: int) -> Tensor:
        q, k, v = self.layers[i].self_in(x).view(len(x), 3, self.heads, -1).unbind(1)  # (R, H, D)
        return filled_up(self.written.attend(i, q, k, v))

    def _cross_attention(self, x: Tensor, i: int) -> Tensor:
        q = self.layers[i].cross_in(x)  # (R, H D)
        outputs = []
        for group in self.groups:
            inputs, n = group.rows.shape
            mine = q.index_select(0, group.rows.flatten()).view(inputs, n, self.heads, -1).transpose(1, 2)
            scores = torch.bmm(mine.reshape(inputs * self.heads, n, -1), group.keys[i].flatten(0, 1))
            if group.mask is not None:
                scores.view(inputs, self.heads, n, -1).add_(group.mask)
            out = torch.bmm(self._softmax(scores), group.values[i].flatten(0, 1))  # (B H, n, D)
            outputs.append(out.view(inputs, self.heads, n, -1).transpose(1, 2).reshape(inputs * n, -1))
        return torch.cat(outputs).index_select(0, self.place_of_row)

    def _softmax(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores.float(), -1).to(self.dtype)

    def _normed(self, residual: Tensor, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        if self.device.type == "cpu":  # takes half-precision input with full-precision weights
            return F.layer_norm(residual + x, (self.d_model,), *norm)
        return F.layer_norm((residual + x).float(), (self.d_model,), *norm).to(self.dtype)

    # What is prepared once.

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
            for place, i in enumerate(inputs):
                padded[place, : source.sizes[i]] = sequences[i]
                mask[place, ..., : source.sizes[i]] = 0
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
        """Find the rows of each input, and drop the inputs that have none left."""
        rows_of: dict[int, list[int]] = {}
        for row, i in enumerate(self.input_of_row.tolist()):
            rows_of.setdefault(i, []).append(row)
        place_of_row, start, kept = [0] * len(self.input_of_row), 0, []
        for group in self.groups:
            inputs = group.inputs.tolist()
            live = [place for place, i in enumerate(inputs) if i in rows_of]
            if not live:
                continue
            if len(live) < len(inputs):
                chosen = torch.tensor(live, device=self.device)
                group.inputs = group.inputs[chosen]
                group.keys = [x[chosen] for x in group.keys]
                group.values = [x[chosen] for x in group.values]
                group.mask = None if group.mask is None else group.mask[chosen]
            rows = [rows_of[inputs[place]] for place in live]
            n = max(FEWEST_ROWS, max(map(len, rows)))
            for place, mine in enumerate(rows):
                for column, row in enumerate(mine):
                    place_of_row[row] = start + place * n + column
            group.rows = torch.tensor([mine + mine[-1:] * (n - len(mine)) for mine in rows], device=self.device)
            start += len(rows) * n
            kept.append(group)
        self.groups = kept
        self.place_of_row = torch.tensor(place_of_row, device=self.device)


def filled_up(rows: Tensor) -> Tensor:
    """(R, ...) with its last entry repeated until there are enough rows for exact products."""
    missing = max(FEWEST_ROWS - len(rows), 0)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def allowed_ids(net: Bart, allowed_tokens: tuple[int, int] | Tensor | None) -> Tensor:
    """(A,) ids that may be written: all, those in range(start, stop), or where a (V,) mask is true; always `</s>`."""
    mask = torch.ones(net.vocab_size, dtype=torch.bool)
    if isinstance(allowed_tokens, Tensor):
        mask = allowed_tokens.detach().to("cpu", torch.bool).clone()
    elif allowed_tokens is not None:
        start, stop = allowed_tokens
        mask[:start], mask[stop:] = False, False
    if len(mask) != net.vocab_size:
        raise ConfigError(f"the mask of allowed tokens has {len(mask)} places, the model {net.vocab_size} tokens")
    mask[EOS] = True
    if int(mask.sum()) < 2:
        raise ConfigError("no token is allowed beside </s>: nothing can be written")
    return mask.nonzero().squeeze(1).to(net.tokens.weight.device)


def check_length(net: Bart, max_length: int) -> None:
    if not 2 <= max_length <= net.max_positions:
        raise ConfigError(f"generator.max_length={max_length} is not between 2 and the model's {net.max_positions}")


def not_finite() -> InputError:
    """What NaN or infinite scores mean; said where they would be drawn from."""
    return InputError(
        "the weights of this model are not finite: the training diverged; use an earlier checkpoint or a lower "
        "optimizer.lr"
    )


@dataclass
class Hypothesis:
    """A sequence that was written.

    tokens: ids after `<s>`, with `</s>` where it was reached. log_likelihood: sum of log p of these tokens among the
    allowed ones, at temperature 1. score: what the search ordered by; the log-likelihood itself for samples.
    """

    tokens: list[int]
    log_likelihood: float
    score: float = math.nan
