"""The interfaces of classes that users may supply: encoders, tokenizers, sources, data modules, metrics, predictors.

A custom class needs no base class of Trimer, only the members listed here; optional members enable further features.
`docs/extend/` has a complete example of each.

Shapes: T tokens of a flat batch (`trimer.flat.Flat`), B sequences, M masked positions, D width, V vocabulary, L tokens
of one sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from trimer.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.utils.data import DataLoader

    from trimer.flat import Flat


# ---------------------------------------------------------------- networks


@runtime_checkable
class Encoder(Protocol):
    """A network that computes one vector per token: an `nn.Module` whose constructor takes `vocab_size`.

    Optional members, and the behaviour without them:
    layers (nn.ModuleList): the blocks from the input on. Without it, task.freeze must be 0 or -1, task.layer_decay 1,
    and task.compile=true raises an error with trainer=gpu_static, which compiles these blocks.
    alone() -> nn.Module: the encoder without other heads. Without it: the network itself.
    compile_parts(): compile, in place, the parts that do not depend on the sequence lengths. Without it,
    `task.compile=true` raises an error.
    longest (int): maximum number of tokens in a sequence. Without it there is no limit.
    reads_modifications (bool), conditions: whether modifications of peptides and measurement conditions are used.
    """

    d_model: int

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """(T, D) hidden states after the last layer, or after `layer` layers (0: the embeddings)."""


@runtime_checkable
class MaskedModel(Encoder, Protocol):
    """An encoder that also predicts masked tokens.

    Optional: training_flops(sizes, masked) -> float, floating-point operations of one training step on B sequences of
    these sizes with M masked tokens. Without it, `mfu` is not logged.
    """

    def __call__(self, sequence: Flat, positions: Tensor | None = None) -> Tensor:
        """(M, V) scores of the tokens at the indices `positions` in T, or (T, V) scores at all positions."""

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) hidden states -> (..., V) scores."""


@runtime_checkable
class Seq2SeqModel(Protocol):
    """A network that reads one sequence and generates another: an `nn.Module`."""

    def __call__(self, source: Flat, target: Flat) -> Tensor:
        """(T, V) scores of the next token after each token of the target."""

    def encode(self, source: Flat) -> Tensor:
        """(T, D) hidden states of the source."""

    def decode(self, target: Flat, memory: Tensor, memory_sizes: Sequence[int]) -> Tensor:
        """(T, D) hidden states of the target, which attends to the encoded sources of these sizes."""


# ---------------------------------------------------------------- data


@runtime_checkable
class Tokenizer(Protocol):
    """Turns a sequence (SMILES, residues) into token ids and back.

    `vocabulary` is a `trimer.tokenizers.vocabulary.Vocabulary`, and `len(tokenizer)` its size. A sequence of L tokens
    begins with the token `cls` and ends with `eos`. For masking it also needs `mask`, the id of the mask token, and
    `alphabet`, which defines the tokens that may be masked (`trimer.tokenizers.alphabet.Alphabet`).
    """

    vocabulary: Any

    def __len__(self) -> int: ...

    def encode(self, text: str) -> np.ndarray | None:
        """(L,) ids, or None if the sequence cannot be tokenized."""

    def decode(self, ids: Sequence[int] | np.ndarray) -> str | None:
        """The sequence, or None if the ids are not a valid one."""

    def to_config(self) -> dict[str, Any]:
        """`_target_` and plain values that build the same tokenizer again; stored in checkpoints."""


@runtime_checkable
class Source(Protocol):
    """A source of records. The type of its tables depends on the data module:

    LabelledSequences: `trimer.data.core.label_table.LabelTable`; `chunks(columns)` also returns the named columns.
    SpectraToMolecules: `trimer.data.spectra.spectrum_table.SpectrumTable`. MaskedSequences: `ProteinTable` or
    `MoleculeTable`. PeptideFragments: `FragmentTable`.
    """

    def fingerprint(self) -> str:
        """A string that changes exactly when the records change; it names the cache of the prepared data."""

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[Any]:
        """The records in tables of any size. A record that cannot be used is included with the reason."""


@runtime_checkable
class DataModule(Protocol):
    """The data of a task: a LightningDataModule whose loaders yield batches of the class `batch`.

    Subclass `trimer.data.modules.base.SplitData` to get caching, splits, reports and exact resume.
    """

    batch: ClassVar[type]
    has_labels: ClassVar[bool]
    tokenizer: Any
    tokens_per_batch: int

    def setup(self, stage: str | None = None) -> None:
        """Read and split the data; may be called more than once."""

    def train_dataloader(self) -> DataLoader: ...

    def val_dataloader(self) -> DataLoader: ...

    def split_rows(self, split: str) -> np.ndarray:
        """Row numbers of a split ("train", "val", "test"), each once."""

    def row_keys(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        """Kind of key -> (n,) keys of rows, which identify training data later."""


# ---------------------------------------------------------------- tasks and predictions


@runtime_checkable
class Metric(Protocol):
    """A custom metric for `task.metrics`: a `torchmetrics.Metric`, which accumulates over batches and devices.

    `update(predictions, labels)` is called once per validation batch; each task documents its arguments. `compute()`
    returns one number for the whole split.
    """

    def update(self, predictions: Tensor, labels: Tensor) -> None: ...

    def compute(self) -> Tensor | float: ...

    def reset(self) -> None: ...


@runtime_checkable
class Predictor(Protocol):
    """An object that predicts records with a checkpoint.

    columns: names of the columns of a prediction. plural: name of the records, such as "molecules".
    Optional: plotter() -> function, which plots predictions in Python. Without it the plot follows from the columns.
    """

    columns: Sequence[str]
    plural: str

    def read(self, path: str | Path) -> Any:
        """The records of a file."""

    def records(self, values: Any) -> Any:
        """The records of objects in memory: a list, a table, objects of other packages."""

    def predict(self, records: Any) -> Iterator[Any]:
        """The prediction of each record, or the reason why there is none, in order."""


# ---------------------------------------------------------------- missing members and defaults


def members(protocol: type) -> tuple[str, ...]:
    """The names of the members that a protocol requires, in order of definition."""
    names: dict[str, None] = {}
    for base in reversed(protocol.__mro__):
        if getattr(base, "_is_protocol", False) and base is not Protocol:
            public = [name for name in vars(base) if not name.startswith("_") and callable(getattr(base, name))]
            names |= dict.fromkeys([*vars(base).get("__annotations__", ()), *public])
    return tuple(names)


def missing_members(value: object, protocol: type) -> list[str]:
    """The members of a protocol that an object lacks; of a network also its `forward` where that needs other inputs."""
    missing = [name for name in members(protocol) if not hasattr(value, name)]
    call, forward = vars(protocol).get("__call__"), getattr(value, "forward", None)
    if call is not None and forward is not None:
        inputs = _required(call)[1:]  # without self
        if len(_required(forward)) > len(inputs):
            missing.append(f"forward({', '.join(inputs)})")
    return missing


def _required(function: Callable) -> list[str]:
    """The names of the positional arguments that have no default."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def encoder_of(net: nn.Module) -> nn.Module:
    """The encoder of a network: `net.alone()` if it has that method, else the network itself."""
    alone = getattr(net, "alone", None)
    return net if alone is None else alone()


def compile_parts(net: Any) -> None:
    """Compile a network in place; ConfigError if it has no method `compile_parts`."""
    if not hasattr(net, "compile_parts"):
        raise ConfigError(
            f"task.compile=true: model={type(net).__name__} has no method compile_parts: set task.compile=false"
        )
    net.compile_parts()
