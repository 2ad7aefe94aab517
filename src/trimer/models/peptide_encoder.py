"""Small encoder of peptides for the CPU, with convolutions, recurrent layers or attention.

A modification enters by its elemental composition, so modifications that are absent from the training data can be used.
It is added to the embedding of its residue, or of the token of its terminus. A batch is flat. For convolutions, rows of
zeros separate the peptides, half a kernel wide, so that no peptide affects another.

Shapes: T tokens of a flat batch, S rows with the gaps, B peptides, M modifications, E elements, C conditions, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimer.arguments import KeepsArguments
from trimer.errors import ConfigError
from trimer.flat import Flat, FlatPeptides, Rows, Static
from trimer.models.attention import attention
from trimer.models.linear import Linear
from trimer.models.rotary import rotary_tables, rotate
from trimer.peptides.conditions import CONDITIONS
from trimer.peptides.modifications import ELEMENTS

BODIES = ("convolution", "recurrent", "transformer")
ENDS = 24  # distances from either end with separate embeddings; larger ones share the last
LONGEST = 512  # tokens of a peptide, for the tables of rotary positions


@dataclass
class Layout:
    """Lengths of the peptides in a batch."""

    sizes: tuple[int, ...] | Rows


@dataclass
class LayoutWithGaps(Layout):
    """For convolutions. rows: (T,) row in S of each token; mask: (S, 1), 1 at tokens and 0 in gaps."""

    rows: Tensor
    mask: Tensor


@dataclass
class RotaryLayout(Layout):
    """For attention. rotary: cos and sin of the rotary positions."""

    rotary: tuple[Tensor, Tensor]


class Convolution(nn.Module):
    """x + down(gelu(up(window))): convolution over windows of `kernel` tokens."""

    def __init__(self, d_model: int, kernel: int, dropout: float):
        super().__init__()
        self.kernel = kernel
        self.norm = nn.LayerNorm(d_model)
        self.up = Linear(kernel * d_model, d_model)
        self.down = Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: LayoutWithGaps) -> Tensor:
        """(S, D) with zeros in the gaps -> (S, D) with zeros in the gaps."""
        reach = self.kernel // 2
        padded = F.pad(in_autocast_dtype(self.norm(x) * layout.mask), (0, 0, reach, reach))
        windows = torch.cat([padded[shift : shift + x.shape[0]] for shift in range(self.kernel)], dim=1)
        return x + self.dropout(self.down(F.gelu(self.up(windows)))) * layout.mask


def in_autocast_dtype(x: Tensor) -> Tensor:
    """x in the dtype of matrix products; converting before the windows are copied saves memory traffic."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def projected(layer: nn.Linear, numbers: Tensor) -> Tensor:
    """Linear layer applied to numbers of the data, converted to the dtype of its weights."""
    return layer(numbers.to(layer.weight.dtype))


class Recurrent(nn.Module):
    """x + output of a bidirectional GRU, D / 2 wide in each direction."""

    def __init__(self, d_model: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.gru = nn.GRU(d_model, d_model // 2, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(T, D) -> (T, D)."""
        normed = self.norm(x).to(self.gru.weight_ih_l0.dtype)
        packed = nn.utils.rnn.pack_sequence(normed.split(layout.sizes), enforce_sorted=False)
        outputs = nn.utils.rnn.unpack_sequence(self.gru(packed)[0])
        return x + self.dropout(torch.cat(outputs))


class Transformer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), with rotary positions."""

    def __init__(self, d_model: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(d_model)
        self.query_key_value = Linear(d_model, 3 * d_model)
        self.output = Linear(d_model, d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.up = Linear(d_model, 4 * d_model)
        self.down = Linear(4 * d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: RotaryLayout) -> Tensor:
        """(T, D) -> (T, D)."""
        q, k, v = self.query_key_value(self.attention_norm(x)).view(x.shape[0], 3, self.heads, -1).unbind(1)
        attended = attention(rotate(q, *layout.rotary), rotate(k, *layout.rotary), v, layout.sizes, layout.sizes)
        x = x + self.dropout(self.output(attended.flatten(1)))
        return x + self.dropout(self.down(F.gelu(self.up(self.feed_forward_norm(x)))))


class PeptideEncoder(KeepsArguments, nn.Module):
    """Encoder of peptides: one vector per residue and terminus.

    body: "convolution" (`kernel` tokens wide), "recurrent" or "transformer" (`heads`). Every token also has embeddings
    of its distance from both ends, up to 24 residues. conditions: whether charge, collision energy and instrument are
    added to every token, as fragment intensities need; batches without them then raise a ConfigError.
    """

    reads_modifications = True

    def __init__(
        self,
        vocab_size: int = 33,
        d_model: int = 64,
        layers: int = 3,
        body: str = "convolution",
        kernel: int = 5,
        heads: int = 4,
        dropout: float = 0.0,
        conditions: bool = False,
        init_std: float = 0.1,
    ):
        super().__init__()
        if body not in BODIES:
            raise ConfigError(f"model.body={body} must be one of {', '.join(BODIES)}")
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"model.kernel={kernel} must be odd: windows are symmetric around a token")
        if body == "transformer" and d_model % (2 * heads):
            raise ConfigError(f"model.d_model={d_model} must be a multiple of 2 x model.heads={heads}")
        if body == "recurrent" and d_model % 2:
            raise ConfigError(f"model.d_model={d_model} must be even: each direction of the GRU has half of it")
        self.vocab_size, self.d_model, self.body, self.heads, self.kernel = vocab_size, d_model, body, heads, kernel
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.from_start = nn.Embedding(ENDS, d_model)
        self.from_end = nn.Embedding(ENDS, d_model)
        self.composition = nn.Linear(len(ELEMENTS), d_model, bias=False)
        self.conditions = nn.Linear(CONDITIONS, d_model) if conditions else None
        make_layer: Callable[[], nn.Module] = {
            "convolution": lambda: Convolution(d_model, kernel, dropout),
            "recurrent": lambda: Recurrent(d_model, dropout),
            "transformer": lambda: Transformer(d_model, heads, dropout),
        }[body]
        self.layers = nn.ModuleList(make_layer() for _ in range(layers))
        self.norm = nn.LayerNorm(d_model)
        self.longest = LONGEST
        for table in (self.tokens, self.from_start, self.from_end):
            nn.init.normal_(table.weight, std=init_std)
        nn.init.normal_(self.composition.weight, std=init_std / 4)  # a modification sums several atoms

    def embed(self, sequence: Flat) -> Tensor:
        """(T, D) sum of embeddings: residue, distance from both ends, modifications, conditions of the measurement."""
        start = sequence.positions()
        owners = sequence.owners()
        lengths = sequence.lengths[owners]
        x = self.tokens(sequence.tokens)
        x = x + self.from_start(start.clamp(max=ENDS - 1)) + self.from_end((lengths - 1 - start).clamp(max=ENDS - 1))
        if isinstance(sequence, FlatPeptides):
            x = x.index_add(0, sequence.places, projected(self.composition, sequence.composition).to(x.dtype))
        if self.conditions is not None:
            conditions = getattr(sequence, "conditions", None)
            if conditions is None:
                raise ConfigError(
                    "model.conditions=true, but these data have no charge, collision energy and instrument: set "
                    "model.conditions=false"
                )
            x = x + projected(self.conditions, conditions).index_select(0, owners)
        return x

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """Hidden states after the last layer and its norm, or after `layer` layers (0: the embeddings): (T, D)."""
        x = self.embed(sequence)
        layout = self._layout(sequence, x.dtype)
        if isinstance(layout, LayoutWithGaps):
            x = x.new_zeros(layout.mask.shape[0], self.d_model).index_copy(0, layout.rows, x)
        for block in self.layers[:layer]:
            x = block(x, layout)
        if isinstance(layout, LayoutWithGaps):
            x = x[layout.rows]
        return x if layer is not None and layer < len(self.layers) else self.norm(x)

    def _layout(self, sequence: Flat, dtype: torch.dtype) -> Layout:
        """Layout for the layers; convolutions get `kernel // 2` rows of zeros after each peptide."""
        if self.body == "transformer":
            return RotaryLayout(sequence.layout, rotary_tables(sequence.positions(), self.d_model // self.heads))
        if self.body == "recurrent":
            if isinstance(sequence, Static):
                raise ConfigError(
                    "model.body=recurrent does not run on batches of one shape (trainer=tpu, trainer=gpu_static): set "
                    "model.body=convolution or model.body=transformer, or use another trainer"
                )
            return Layout(sequence.sizes)
        rows, count = sequence.with_gaps(self.kernel // 2)
        mask = torch.zeros(count, 1, device=rows.device, dtype=dtype)
        return LayoutWithGaps(sequence.layout, rows, mask.index_fill(0, rows, 1.0))

    def alone(self) -> PeptideEncoder:
        """The encoder itself."""
        return self

    def compile_parts(self) -> None:
        """Compile the convolutions in place; their shapes depend on the number of rows only."""
        if self.body == "convolution":
            for block in self.layers:
                block.compile(dynamic=True)
