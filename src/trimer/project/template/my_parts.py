"""The classes of this project: a source of labelled molecules, and an encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimer.arguments import KeepsArguments
from trimer.data.core.label_table import LabelTable
from trimer.errors import InputError
from trimer.flat import Flat


class JsonLines:
    """Molecules of a JSON Lines file, one record a line: `{"name": ..., "smiles": ..., "<label>": ...}`.

    path: the file. label: the field of a record that holds its class.
    """

    def __init__(self, path: str, label: str) -> None:
        self.path, self.label = path, label

    def fingerprint(self) -> str:
        """Changes when the file or the label changes: it names the cache of the prepared data."""
        return hashlib.sha256(Path(self.path).read_bytes() + self.label.encode()).hexdigest()

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """All records in one table; a record that cannot be used gets its reason and is dropped.

        columns: further fields that the data module asks for, such as that of a split.
        """
        table = LabelTable([], [], {self.label: []}, {name: [] for name in columns})
        for number, line in enumerate(Path(self.path).read_text(encoding="utf-8").splitlines(), 1):
            where = f"{self.path}, line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{where} is not JSON: {error}") from error
            if "smiles" not in record:
                table.problems[len(table)] = "record without smiles"
            table.ids.append(record.get("name", where))
            table.texts.append(record.get("smiles", ""))
            table.labels[self.label].append(record.get(self.label))  # a text; None where it is missing
            for name in columns:
                table.columns[name].append(record.get(name))
            table.places.append(where)
        yield table


class MeanContext(KeepsArguments, nn.Module):
    """An encoder: each token sees itself and the mean of its sequence.

    A batch is flat: `sequence.tokens` are the T tokens of all sequences, one after another, without padding.
    """

    def __init__(self, vocab_size: int, d_model: int = 64) -> None:
        super().__init__()
        self.d_model = d_model
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.mix = nn.Linear(2 * d_model, d_model)
        self.norm = nn.LayerNorm(d_model)

    def hidden(self, sequence: Flat, layer: int | None = None) -> Tensor:
        """(T,) tokens -> (T, D) vectors."""
        x = self.tokens(sequence.tokens)  # (T, D)
        owners = sequence.owners()  # (T,) the sequence of each token
        sums = x.new_zeros(sequence.slots, self.d_model).index_add(0, owners, x)
        means = sums / sequence.lengths[:, None]  # (B, D)
        return self.norm(x + F.gelu(self.mix(torch.cat([x, means[owners]], 1))))
