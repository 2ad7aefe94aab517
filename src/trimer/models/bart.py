"""BART: an encoder for a whole sequence and a decoder that generates another one token by token.

Lewis et al. 2019, https://arxiv.org/abs/1910.13461. Its notable choices:
- learned positions, whose table begins at position -2;
- a layer norm after the embeddings and after each residual sum (post-norm);
- one embedding table for source, target and output.
Unlike in most implementations, a batch is flat (`trimer.flat`): nothing is computed for padding.

Shapes: T tokens of a flat batch, B sequences, D model width, H heads, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimer.arguments import KeepsArguments
from trimer.errors import ConfigError, InputError
from trimer.flat import Flat, Rows
from trimer.models.attention import attention
from trimer.models.dropout import dropout as drop
from trimer.models.linear import Linear
from trimer.models.memory import check_checkpointing
from trimer.models.recomputing import recomputed

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # names as in Hugging Face configurations
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}

POSITION_OFFSET = 2  # BART's position table starts two rows before position 0


class SelfAttention(nn.Module):
    """Attention of each token to the tokens of its sequence; if causal, only to itself and those before it."""

    def __init__(self, d_model: int, heads: int, dropout: float, causal: bool):
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.query_key_value = Linear(d_model, 3 * d_model)
        self.output = Linear(d_model, d_model)

    def forward(self, x: Tensor, sizes: Sequence[int] | Rows) -> Tensor:
        """x: (T, D), sizes: B lengths -> (T, D)."""
        q, k, v = self.query_key_value(x).view(x.shape[0], 3, self.heads, -1).unbind(1)  # (T, H, D / H) each
        dropout = self.dropout if self.training else 0.0
        return self.output(attention(q, k, v, sizes, sizes, self.causal, dropout).flatten(1))


class CrossAttention(nn.Module):
    """Attention of each token of the target to all tokens of its source."""

    def __init__(self, d_model: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = Linear(d_model, d_model)
        self.key_value = Linear(d_model, 2 * d_model)
        self.output = Linear(d_model, d_model)

    def forward(
        self, x: Tensor, sizes: Sequence[int] | Rows, memory: Tensor, memory_sizes: Sequence[int] | Rows
    ) -> Tensor:
        """x: (T, D) of the target, memory: (S, D) of the source, sizes: B lengths each -> (T, D)."""
        q = self.query(x).view(x.shape[0], self.heads, -1)
        k, v = self.key_value(memory).view(memory.shape[0], 2, self.heads, -1).unbind(1)
        dropout = self.dropout if self.training else 0.0
        return self.output(attention(q, k, v, sizes, memory_sizes, False, dropout).flatten(1))


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, applied to each token."""

    def __init__(self, d_model: int, width: int, activation: str, dropout: float):
        super().__init__()
        self.activation, self.dropout = ACTIVATIONS[activation], dropout
        self.up = Linear(d_model, width)
        self.down = Linear(width, d_model)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.up(x))
        return self.down(drop(x, self.dropout, self.training))


class ResidualNorm(nn.Module):
    """LayerNorm(residual + dropout(x)), applied after every sub-layer."""

    def __init__(self, d_model: int, dropout: float):
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(d_model)

    def forward(self, residual: Tensor, x: Tensor) -> Tensor:
        return self.norm(residual + drop(x, self.dropout, self.training)).to(x.dtype)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward layers of the encoder."""

    def __init__(self, d_model: int, heads: int, ffn: int, activation: str, dropouts: tuple[float, float, float]):
        super().__init__()
        dropout, attention_dropout, activation_dropout = dropouts
        self.self_attention = SelfAttention(d_model, heads, attention_dropout, causal=False)
        self.self_attention_norm = ResidualNorm(d_model, dropout)
        self.feed_forward = FeedForward(d_model, ffn, activation, activation_dropout)
        self.feed_forward_norm = ResidualNorm(d_model, dropout)

    def forward(self, x: Tensor, sizes: Sequence[int] | Rows) -> Tensor:
        x = self.self_attention_norm(x, self.self_attention(x, sizes))
        return self.feed_forward_norm(x, self.feed_forward(x))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the source, and feed-forward layers of the decoder."""

    def __init__(self, d_model: int, heads: int, ffn: int, activation: str, dropouts: tuple[float, float, float]):
        super().__init__()
        dropout, attention_dropout, activation_dropout = dropouts
        self.self_attention = SelfAttention(d_model, heads, attention_dropout, causal=True)
        self.self_attention_norm = ResidualNorm(d_model, dropout)
        self.cross_attention = CrossAttention(d_model, heads, attention_dropout)
        self.cross_attention_norm = ResidualNorm(d_model, dropout)
        self.feed_forward = FeedForward(d_model, ffn, activation, activation_dropout)
        self.feed_forward_norm = ResidualNorm(d_model, dropout)

    def forward(
        self, x: Tensor, sizes: Sequence[int] | Rows, memory: Tensor, memory_sizes: Sequence[int] | Rows
    ) -> Tensor:
        x = self.self_attention_norm(x, self.self_attention(x, sizes))
        x = self.cross_attention_norm(x, self.cross_attention(x, sizes, memory, memory_sizes))
        return self.feed_forward_norm(x, self.feed_forward(x))


class Embedding(nn.Module):
    """Token and position embeddings of one side, summed and normalised. All sides share one token table."""

    def __init__(self, d_model: int, max_positions: int, dropout: float, scale: float):
        super().__init__()
        self.max_positions, self.dropout, self.scale = max_positions, dropout, scale
        self.positions = nn.Embedding(max_positions + POSITION_OFFSET, d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, tokens: Tensor, positions: Tensor, table: Tensor) -> Tensor:
        """tokens, positions: (T,) -> (T, D)."""
        x = F.embedding(tokens, table) * self.scale + self.positions(positions + POSITION_OFFSET)
        x = self.norm(x)
        if torch.is_autocast_enabled(x.device.type):  # the residual stream stays in the dtype of the products
            x = x.to(torch.get_autocast_dtype(x.device.type))
        return drop(x, self.dropout, self.training)


class Bart(KeepsArguments, nn.Module):
    """BART over flat batches.

    scale_embedding multiplies token embeddings by sqrt(d_model). max_positions is the longest sequence, in tokens.
    dropout acts on embeddings and sub-layers, attention_dropout on attention weights, activation_dropout inside the
    feed-forward layers. Weights are initialised from a normal distribution with deviation init_std, biases with zero.
    checkpointing: recompute the hidden states inside the layers for the gradients instead of keeping them; "auto" does
    so if the memory of the GPU is too small otherwise.
    """

    encoder: Any  # nn.ModuleList of EncoderLayer
    decoder: Any  # nn.ModuleList of DecoderLayer
    final_logits_bias: Tensor

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 256,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        encoder_heads: int = 4,
        decoder_heads: int = 4,
        encoder_ffn: int = 1024,
        decoder_ffn: int = 1024,
        max_positions: int = 1024,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        activation: str = "gelu",
        scale_embedding: bool = False,
        init_std: float = 0.02,
        checkpointing: bool | str = False,
    ):
        super().__init__()
        check_checkpointing(checkpointing)
        for name, heads in (("encoder_heads", encoder_heads), ("decoder_heads", decoder_heads)):
            if d_model % heads:
                raise ConfigError(f"model.{name}={heads} does not divide model.d_model={d_model}")
        for name, fraction in (
            ("dropout", dropout),
            ("attention_dropout", attention_dropout),
            ("activation_dropout", activation_dropout),
        ):
            if not 0 <= fraction < 1:
                raise ConfigError(f"model.{name}={fraction} must be at least 0 and below 1")
        if activation not in ACTIVATIONS:
            raise ConfigError(f"model.activation={activation} is not one of {', '.join(ACTIVATIONS)}")
        self.vocab_size, self.d_model, self.max_positions = vocab_size, d_model, max_positions
        self.activation, self.init_std, self.checkpointing = activation, init_std, checkpointing
        dropouts = (dropout, attention_dropout, activation_dropout)
        scale = math.sqrt(d_model) if scale_embedding else 1.0
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.encoder_embedding = Embedding(d_model, max_positions, dropout, scale)
        self.encoder = nn.ModuleList(
            EncoderLayer(d_model, encoder_heads, encoder_ffn, activation, dropouts) for _ in range(encoder_layers)
        )
        self.decoder_embedding = Embedding(d_model, max_positions, dropout, scale)
        self.decoder = nn.ModuleList(
            DecoderLayer(d_model, decoder_heads, decoder_ffn, activation, dropouts) for _ in range(decoder_layers)
        )
        self.register_buffer("final_logits_bias", torch.zeros(vocab_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=init_std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def encode(self, source: Flat) -> Tensor:
        """Hidden states of the sources after the encoder: (T, D)."""
        self._check_length(source, "source")
        x = self.encoder_embedding(source.tokens, source.positions(), self.tokens.weight)
        for layer in self.encoder:
            x = self._layer(layer, x, source.layout)
        return x

    def decode(self, target: Flat, memory: Tensor, memory_sizes: Sequence[int] | Rows) -> Tensor:
        """Hidden states of the decoder inputs, given the encoder's output: (T, D)."""
        self._check_length(target, "target")
        x = self.decoder_embedding(target.tokens, target.positions(), self.tokens.weight)
        for layer in self.decoder:
            x = self._layer(layer, x, target.layout, memory, memory_sizes)
        return x

    def _layer(self, layer: nn.Module, *inputs: Any) -> Tensor:
        """The output of a layer."""
        if self.checkpointing is True and self.training:
            return recomputed(layer, *inputs)
        return layer(*inputs)

    def hidden(self, source: Flat, target: Flat) -> Tensor:
        """Last hidden state at each decoder input: (T, D)."""
        return self.decode(target, self.encode(source), source.layout)

    def logits(self, hidden: Tensor, score: Callable[..., Tensor] = F.linear) -> Tensor:
        """Scores of the next token: (..., D) -> (..., V); or what `score` makes of hidden states, weights and bias."""
        weight = self.tokens.weight
        return score(hidden, weight, self.final_logits_bias.to(weight.dtype))

    def forward(self, source: Flat, target: Flat, score: Callable[..., Tensor] = F.linear) -> Tensor:
        """Scores of the token that follows each decoder input: (T, V). score: see `logits`."""
        return self.logits(self.hidden(source, target), score)

    def compile_parts(self) -> None:
        """Compile the token-wise layers in place; sequence lengths never cause a recompilation."""
        for layer in (*self.encoder, *self.decoder):
            layer.feed_forward.compile(dynamic=True)

    def alone(self) -> BartEncoder:
        """The encoder, sharing these weights."""
        return BartEncoder(self)

    def _check_length(self, batch: Flat, side: str) -> None:
        longest = max(batch.sizes, default=0)
        if longest > self.max_positions:
            raise InputError(
                f"a {side} of {longest} tokens is longer than the model's {self.max_positions} positions: "
                f"shorten it, or train a model with a larger model.max_positions"
            )


class BartEncoder(nn.Module):
    """The encoder of a BART, for fine-tuning on labels; it shares the modules of `net`."""

    layers: Any  # nn.ModuleList of EncoderLayer

    def __init__(self, net: Bart):
        super().__init__()
        self.d_model, self.longest = net.d_model, net.max_positions
        self.tokens, self.embedding, self.layers = net.tokens, net.encoder_embedding, net.encoder

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states after the last layer, or after `layer` layers (0: the embeddings): (T, D)."""
        longest = max(sequence.sizes, default=0)
        if longest > self.longest:
            raise InputError(f"a sequence of {longest} tokens is longer than the model's {self.longest} positions")
        x = self.embedding(sequence.tokens, sequence.positions(), self.tokens.weight)
        for block in self.layers[:layer]:
            x = block(x, sequence.layout)
        return x

    def alone(self) -> BartEncoder:
        """The encoder itself."""
        return self

    def compile_parts(self) -> None:
        """Compile the token-wise layers in place."""
        for layer in self.layers:
            layer.feed_forward.compile(dynamic=True)
