"""RoBERTa: an encoder of text, such as SMILES, that predicts masked tokens from both sides of the sequence.

Liu et al. 2019, https://arxiv.org/abs/1907.11692; ChemBERTa (Chithrananda et al. 2020, https://arxiv.org/abs/2010.09885)
is a RoBERTa of SMILES. Its notable choices:
- learned positions: the first token of a sequence has row `pad + 1` of the table, so the first pad + 1 rows are never
  used;
- a layer norm after the embeddings and after each residual sum (post-norm), with an eps that differs between models;
- one embedding table for input and output.
A batch is flat (`trimer.flat`): nothing is computed for padding, and the result of a sequence does not depend on
the others in the batch.

Shapes: T tokens of a flat batch, B sequences, M masked positions, D model width, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimer.arguments import KeepsArguments
from trimer.errors import ConfigError, InputError
from trimer.flat import Flat, Rows
from trimer.models.attention import attention
from trimer.models.dropout import dropout as drop
from trimer.models.esm2 import MaskedHead
from trimer.models.flops import encoder_training_flops
from trimer.models.linear import Linear
from trimer.models.memory import check_checkpointing
from trimer.models.recomputing import recomputed


class Layer(nn.Module):
    """norm(x + attention(x)), then norm(x + feed_forward(x)).

    `before` and `feed_forward` hold the token-wise computation, so that they can be compiled for any sequence lengths.
    """

    def __init__(self, d_model: int, heads: int, ffn: int, eps: float, dropout: float, attention_dropout: float):
        super().__init__()
        self.heads, self.dropout, self.attention_dropout = heads, dropout, attention_dropout
        self.query_key_value = Linear(d_model, 3 * d_model)
        self.output = Linear(d_model, d_model)
        self.attention_norm = nn.LayerNorm(d_model, eps=eps)
        self.up = Linear(d_model, ffn)
        self.down = Linear(ffn, d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model, eps=eps)

    def before(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, D) -> queries, keys and values: (T, H, D / H) each."""
        q, k, v = self.query_key_value(x).view(x.shape[0], 3, self.heads, -1).unbind(1)
        return q, k, v

    def feed_forward(self, x: Tensor) -> Tensor:
        """(T, D) -> (T, D)."""
        return self.down(F.gelu(self.up(x)))

    def forward(self, x: Tensor, sizes: Sequence[int] | Rows) -> Tensor:
        attended = attention(*self.before(x), sizes, sizes, dropout=self.attention_dropout if self.training else 0.0)
        x = self._added(x, self.output(attended.flatten(1)), self.attention_norm)
        return self._added(x, self.feed_forward(x), self.feed_forward_norm)

    def _added(self, residual: Tensor, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return norm(residual + drop(x, self.dropout, self.training)).to(x.dtype)


class Roberta(KeepsArguments, nn.Module):
    """RoBERTa over flat batches.

    ffn: width of the feed-forward layers, 4 times d_model by default. max_positions: rows of the position table, of
    which max_positions - pad - 1 can be used (`longest`). pad: id of the padding token; positions begin at row pad + 1.
    eps: of all layer norms. dropout acts on the embeddings and after each sub-layer, attention_dropout on attention
    weights. head: the head that predicts masked tokens; without it the model only returns hidden states. checkpointing:
    recompute the hidden states inside the layers for the gradients instead of keeping them; "auto" does so if the
    training would not fit into the memory of the GPU (`trimer.models.memory`).
    Weights are initialised from a normal distribution with deviation init_std, biases with zero.
    """

    layers: Any  # nn.ModuleList of Layer

    def __init__(
        self,
        vocab_size: int,
        d_model: int = 768,
        layers: int = 6,
        heads: int = 12,
        ffn: int | None = None,
        max_positions: int = 514,
        pad: int = 1,
        eps: float = 1e-12,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        head: bool = True,
        checkpointing: bool | str = False,
        init_std: float = 0.02,
    ):
        super().__init__()
        if d_model % heads:
            raise ConfigError(f"model.heads={heads} does not divide model.d_model={d_model}")
        if max_positions < pad + 2:
            raise ConfigError(
                f"model.max_positions={max_positions} leaves no position for a token: rows 0 to model.pad={pad} are "
                f"never used"
            )
        for name, fraction in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= fraction < 1:
                raise ConfigError(f"model.{name}={fraction} must be at least 0 and below 1")
        check_checkpointing(checkpointing)
        self.vocab_size, self.d_model, self.heads = vocab_size, d_model, heads
        self.max_positions, self.pad, self.eps = max_positions, pad, eps
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.checkpointing, self.init_std = checkpointing, init_std
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(max_positions, d_model)
        self.token_type = nn.Embedding(1, d_model)  # BERT distinguishes two texts by it; RoBERTa has one
        self.embedding_norm = nn.LayerNorm(d_model, eps=eps)
        self.layers = nn.ModuleList(
            Layer(d_model, heads, ffn or 4 * d_model, eps, dropout, attention_dropout) for _ in range(layers)
        )
        self.head = MaskedHead(d_model, vocab_size, eps) if head else None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=init_std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @property
    def longest(self) -> int:
        """Length of the longest possible input in tokens, `<s>` and `</s>` included."""
        return self.max_positions - self.pad - 1

    def embed(self, sequence: Flat) -> Tensor:
        """Normalised sum of token and position embeddings: (T, D). InputError for a sequence that is too long."""
        length = max(sequence.sizes, default=0)
        if length > self.longest:
            raise InputError(
                f"a sequence of {length} tokens is longer than the {self.longest} tokens that this model can read "
                f"({self.max_positions} rows of positions, of which the first {self.pad + 1} are never used): "
                f"shorten it, or train a model with a larger model.max_positions"
            )
        x = self.tokens(sequence.tokens) + self.positions(sequence.positions() + self.pad + 1) + self.token_type.weight
        x = self.embedding_norm(x)
        if torch.is_autocast_enabled(x.device.type):  # the residual stream stays in the dtype of the products
            x = x.to(torch.get_autocast_dtype(x.device.type))
        return drop(x, self.dropout, self.training)

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states after the last layer, or after `layer` layers (0: the embeddings): (T, D)."""
        x = self.embed(sequence)
        for block in self.layers[:layer]:
            if self.checkpointing is True and self.training:
                x = recomputed(block, x, sequence.layout)
            else:
                x = block(x, sequence.layout)
        return x

    def logits(self, hidden: Tensor, score: Callable[..., Tensor] = F.linear) -> Tensor:
        """Scores of the token at each position: (..., D) -> (..., V); or what `score` makes of the last layer."""
        if self.head is None:
            raise ConfigError("this model has no head for masked tokens: build it with model.head=true")
        return self.head(hidden, self.tokens.weight, score)

    def forward(
        self, sequence: Flat, positions: Tensor | None = None, score: Callable[..., Tensor] = F.linear
    ) -> Tensor:
        """Scores of the tokens at these positions in T (M,), or at all: (M, V) or (T, V). score: see `logits`."""
        hidden = self.hidden(sequence)
        return self.logits(hidden if positions is None else hidden[positions], score)

    def alone(self) -> Roberta:
        """The model itself without the head for masked tokens, whose weights would have no gradient."""
        self.head = None
        return self

    def compile_parts(self) -> None:
        """Compile the token-wise functions in place; sequence lengths never cause a recompilation."""
        for block in self.layers:
            block.before = torch.compile(block.before, dynamic=True)
            block.feed_forward = torch.compile(block.feed_forward, dynamic=True)

    training_flops = encoder_training_flops
