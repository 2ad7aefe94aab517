"""How much the number format of the stored weights changes predictions for the example records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trimer.examples import example


def largest_change(whole: Any, packed: Any) -> str:
    """The largest change of a prediction, in words. whole, packed: a checkpoint with its own weights and as packed."""
    from trimer.data.spectra.readers import read_spectra

    kind = whole.study.example
    if kind == "spectra":
        tables = read_spectra(example(kind))
        what, count = "a token's probability", len(tables)
        changes = [token_probabilities(loaded, tables) for loaded in (whole, packed)]
    elif whole.study.can_predict(whole.contract):
        predictor = predictor_of(whole)
        records = [part for part in predictor.read(example(kind))]
        count = sum(len(part.usable) for part in records)
        changes = [np.concatenate(list(predicted_numbers(loaded, records))) for loaded in (whole, packed)]
        target = (whole.contract.get("labels") or {}).get("target")
        what = "a predicted number" if target == "regression" else "a probability or intensity"
    else:
        vectors = [embeddings(loaded, example(kind)) for loaded in (whole, packed)]
        lengths = np.linalg.norm(vectors[0], axis=1, keepdims=True)
        changes, what, count = [vector / lengths for vector in vectors], "a component of a unit embedding", len(lengths)
    if not count:
        return "not measured: the example records do not fit this model"
    change = float(np.abs(changes[0] - changes[1]).max())
    return f"changes {what} by at most {change:.2g} ({count} example {kind})"


def token_probabilities(loaded: Any, table: Any) -> np.ndarray:
    """Probabilities of all next tokens of the true molecules, given their spectra: (T, V)."""
    from trimer.data.core.batches import PairBatch

    values, offsets = loaded.tokenizer.encode_spectra(table)
    targets = [loaded.tokenizer.encode_molecule(text) for text in table["smiles"]]
    rows = [row for row, target in enumerate(targets) if target is not None]
    sources = [values[offsets[row] : offsets[row + 1]] for row in rows]
    batch = PairBatch.pack(sources, [targets[row] for row in rows], np.array(rows))
    with torch.inference_mode():
        return loaded.net(batch.source, batch.target).float().softmax(-1).numpy()


def predictor_of(loaded: Any) -> Any:
    """The predictor of a checkpoint with the default settings of `trimer predict`."""
    from trimer.api import command_config

    return loaded.study.predictor(command_config("predict", {"ckpt": str(loaded.path), "output": "-"}, {}))


def predicted_numbers(loaded: Any, records: list[Any]) -> Iterator[np.ndarray]:
    """All numbers that a checkpoint predicts for records, one vector for each record."""
    predictor = predictor_of(loaded)
    for part in records:
        inputs = [part.inputs[row] for row in part.usable]
        with torch.inference_mode():
            rows = predictor.predict_chunk(inputs) if inputs else []
        for row in (row for predicted in rows for row in predicted):
            numbers = [np.ravel(value) for value in row.values() if is_number(value)]
            yield np.concatenate([np.asarray(part, np.float64) for part in numbers])


def is_number(value: Any) -> bool:
    """Whether a predicted value is a number or holds numbers."""
    return np.asarray(value).dtype.kind == "f"


def embeddings(loaded: Any, path: Path) -> np.ndarray:
    """Mean embeddings of the records of a file that can be read: (n, D)."""
    from trimer.api import command_config
    from trimer.prediction.embedder import Embedder

    embedder = Embedder(loaded, command_config("embed", {"ckpt": str(loaded.path)}, {}))
    chunks = embedder.embed(embedder.read(path))  # each must be read before the next
    return np.stack([vector for chunk in chunks for vector in chunk.vectors if vector is not None])
