"""ESM2: an encoder of proteins that predicts masked residues from both sides of the sequence.

Lin et al. 2023, https://doi.org/10.1126/science.ade2574. Its notable choices:
- rotary position embeddings instead of learned ones, counted from `<cls>`;
- a layer norm before each sub-layer and one after the last (pre-norm), eps 1e-5;
- token dropout: masked tokens have a zero embedding, and the others are scaled as if a fixed fraction were masked;
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
from trimer.errors import ConfigError
from trimer.flat import Flat, Rows
from trimer.models.attention import attention, attention_maps
from trimer.models.flops import encoder_training_flops
from trimer.models.linear import Linear
from trimer.models.memory import check_checkpointing
from trimer.models.recomputing import recomputed
from trimer.models.rotary import rotary_tables, rotate

MASK = 32  # `<mask>`
LAYER_NORM_EPS = 1e-5


class Layer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    `before` and `after` hold the token-wise computation, so that they can be compiled for any sequence lengths.
    """

    def __init__(self, d_model: int, heads: int, ffn: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(d_model, eps=LAYER_NORM_EPS)
        self.query_key_value = Linear(d_model, 3 * d_model, bias=bias)
        self.output = Linear(d_model, d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model, eps=LAYER_NORM_EPS)
        self.up = Linear(d_model, ffn, bias=bias)
        self.down = Linear(ffn, d_model)

    def before(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, D) -> queries and keys with rotary positions, and values: (T, H, D / H) each."""
        q, k, v = self.query_key_value(self.attention_norm(x)).view(x.shape[0], 3, self.heads, -1).unbind(1)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def after(self, x: Tensor, attended: Tensor) -> Tensor:
        """(T, D) and the output of the heads, (T, H, D / H) -> (T, D)."""
        x = x + self.output(attended.flatten(1))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sizes: Sequence[int] | Rows) -> Tensor:
        q, k, v = self.before(x, cos, sin)
        return self.after(x, attention(q, k, v, sizes, sizes))


class MaskedHead(nn.Module):
    """Head for masked tokens: dense layer, GELU, norm, and the embedding table as output matrix."""

    def __init__(self, d_model: int, vocab_size: int, eps: float = LAYER_NORM_EPS):
        super().__init__()
        self.dense = Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor, table: Tensor, score: Callable[..., Tensor] = F.linear) -> Tensor:
        """(..., D) -> (..., V), or what `score` makes of the features, the output matrix and its bias."""
        return score(self.norm(F.gelu(self.dense(hidden))), table, self.bias)


class Esm2(KeepsArguments, nn.Module):
    """ESM2 over flat batches.

    ffn: width of the feed-forward layers, 4 times d_model by default. bias: of the projections to queries, keys,
    values and the feed-forward width. token_dropout scales the embeddings of each sequence by (1 - masked_share) /
    (1 - fraction of `<mask>` in it); masked_share is 0.15 x 0.8 in the published models, whatever fraction is masked in
    training. head: the head that predicts masked tokens; without it the model only returns hidden states. contacts:
    also a head that predicts residue contacts; masked training does not reach it, so it has no gradient.
    checkpointing: recompute the hidden states inside the layers for the gradients instead of keeping them; "auto" does
    so if the training would not fit into the memory of the GPU (`trimer.models.memory`).
    Weights are initialised from a normal distribution with deviation init_std, biases with zero.
    """

    layers: Any  # nn.ModuleList of Layer

    def __init__(
        self,
        vocab_size: int = 33,
        d_model: int = 320,
        layers: int = 6,
        heads: int = 20,
        ffn: int | None = None,
        bias: bool = True,
        token_dropout: bool = True,
        masked_share: float = 0.12,
        head: bool = True,
        contacts: bool = False,
        checkpointing: bool | str = False,
        init_std: float = 0.02,
    ):
        super().__init__()
        if d_model % (2 * heads):
            raise ConfigError(
                f"model.d_model={d_model} must be a multiple of 2 x model.heads={heads}: rotation needs pairs"
            )
        if not 0 <= masked_share < 1:
            raise ConfigError(f"model.masked_share={masked_share} must be at least 0 and below 1")
        check_checkpointing(checkpointing)
        self.vocab_size, self.d_model, self.heads = vocab_size, d_model, heads
        self.token_dropout, self.masked_share = token_dropout, masked_share
        self.checkpointing, self.init_std = checkpointing, init_std
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.layers = nn.ModuleList(Layer(d_model, heads, ffn or 4 * d_model, bias) for _ in range(layers))
        self.norm = nn.LayerNorm(d_model, eps=LAYER_NORM_EPS)
        self.head = MaskedHead(d_model, vocab_size) if head else None
        self.contact_head = nn.Linear(layers * heads, 1).requires_grad_(False) if contacts else None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=init_std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def mask(self) -> int | None:
        """Id of the mask token that token dropout expects; None without token dropout."""
        return MASK if self.token_dropout else None

    def embed(self, sequence: Flat) -> Tensor:
        """Embeddings of the tokens: (T, D)."""
        x = self.tokens(sequence.tokens)
        if not self.token_dropout:
            return x
        is_mask = sequence.tokens == MASK
        owner = sequence.owners()
        # fp32 whatever the dtype of the weights: bf16 cannot count beyond 256.
        masked = torch.zeros(sequence.slots, device=x.device).index_add_(0, owner, is_mask.float())
        visible = 1 - masked / sequence.lengths  # (B,); 0 if all tokens are masked, and none is scaled then
        scale = (1 - self.masked_share) / torch.where(visible > 0, visible, 1.0)
        return x * (scale[owner] * ~is_mask)[:, None].to(x.dtype)

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states after the last layer and its norm, or after `layer` layers (0: the embeddings): (T, D)."""
        x = self.embed(sequence)
        cos, sin = rotary_tables(sequence.positions(), self.d_model // self.heads)
        for block in self.layers[:layer]:
            if self.checkpointing is True and self.training:
                x = recomputed(block, x, cos, sin, sequence.layout)
            else:
                x = block(x, cos, sin, sequence.layout)
        return x if layer is not None and layer < len(self.layers) else self.norm(x)

    def logits(self, hidden: Tensor, score: Callable[..., Tensor] = F.linear) -> Tensor:
        """Scores of the residue at each position: (..., D) -> (..., V); or what `score` makes of the last layer."""
        if self.head is None:
            raise ConfigError("this model has no head for masked tokens: build it with model.head=true")
        return self.head(hidden, self.tokens.weight, score)

    def forward(
        self, sequence: Flat, positions: Tensor | None = None, score: Callable[..., Tensor] = F.linear
    ) -> Tensor:
        """Scores of the tokens at these positions in T (M,), or at all: (M, V) or (T, V). score: see `logits`."""
        hidden = self.hidden(sequence)
        return self.logits(hidden if positions is None else hidden[positions], score)

    def contacts(self, sequence: Flat) -> list[Tensor]:
        """Probability that two residues are in contact, (L - 2, L - 2) for each sequence of L tokens `<cls> ... <eos>`.

        A logistic regression on the attention maps of all heads, symmetrised and with average product correction (APC),
        by Rao et al. 2021. ConfigError without a contact head.
        """
        if self.contact_head is None:
            raise ConfigError("this model has no contact head: build it with model.contacts=true")
        x, maps = self.embed(sequence), []
        cos, sin = rotary_tables(sequence.positions(), self.d_model // self.heads)
        for block in self.layers:
            q, k, v = block.before(x, cos, sin)
            maps.append(attention_maps(q, k, sequence.sizes))
            x = block.after(x, attention(q, k, v, sequence.sizes, sequence.sizes))
        contacts = []
        for layer_maps in zip(*maps, strict=True):  # of one sequence: (H, L, L) for each layer
            inner = torch.cat(layer_maps)[:, 1:-1, 1:-1]
            inner = inner + inner.transpose(1, 2)
            expected = inner.sum(1, keepdim=True) * inner.sum(2, keepdim=True) / inner.sum((1, 2), keepdim=True)
            contacts.append(torch.sigmoid(self.contact_head((inner - expected).permute(1, 2, 0))).squeeze(-1))
        return contacts

    def alone(self) -> Esm2:
        """The model itself without the head for masked tokens, whose weights would have no gradient."""
        self.head = None
        return self

    def compile_parts(self) -> None:
        """Compile the token-wise functions in place; sequence lengths never cause a recompilation."""
        for block in self.layers:
            block.before = torch.compile(block.before, dynamic=True)
            block.after = torch.compile(block.after, dynamic=True)

    training_flops = encoder_training_flops
