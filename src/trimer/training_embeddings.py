"""How near a protein or peptide is to the training data, by embeddings of a fine-tuned encoder.

The key `training_embeddings` of a checkpoint holds
- `vectors`: float16 (N, D), embeddings (means over residues) of a random sample of the train split, minus `mean` (D,),
  of length 1. N is at most LIMIT, and N * D at most NUMBERS;
- `validation`: float32, ascending: for a sample of the validation split, the mean cosine to the NEIGHBOURS nearest of
  these vectors.

The applicability of a sequence is the fraction of these validation sequences whose mean cosine is not higher: 1 for a
sequence nearer to the training data than all of them, 0 for one farther away than all. Cosines themselves have no
common scale: it depends on the encoder. Shapes: n sequences, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from trimer.errors import CheckpointError
from trimer.prediction.embedding import embed

if TYPE_CHECKING:
    from torch import nn

    from trimer.checkpoint import Loaded
    from trimer.protocols import Encoder

KEY = "training_embeddings"  # of a checkpoint
LIMIT = 5_000  # embeddings of training sequences
NUMBERS = 2**22  # numbers of all embeddings: 8 MB
VALIDATION = 1_000  # validation sequences
NEIGHBOURS = 5
CHUNK = 1_024  # sequences that are compared at once


def training_embeddings(net: nn.Module, data: Any, seed: int = 0) -> dict[str, Any]:
    """The value of `training_embeddings` in a checkpoint. data: a data module of labelled sequences after setup."""
    random = np.random.default_rng(seed)
    train = _sample(data.split.rows("train"), min(LIMIT, NUMBERS // cast("Any", net).encoder.d_model), random)
    vectors = embeddings(net, data, train)
    mean = vectors.mean(0)
    stored = unit(vectors - mean).astype(np.float16)
    neighbours = Neighbours(stored, mean, np.zeros(0, np.float32))
    validation = embeddings(net, data, _sample(data.split.rows("val"), VALIDATION, random))
    nearness = np.sort(neighbours.nearness(validation)).astype(np.float32)
    return {name: torch.from_numpy(a) for name, a in (("vectors", stored), ("mean", mean), ("validation", nearness))}


def embeddings(net: nn.Module, data: Any, rows: np.ndarray) -> np.ndarray:
    """(n, D) float32 embeddings of rows of a data module: means of the last hidden states over the residues."""
    tokens = data.store.ragged("tokens").take(rows)
    vectors = list(embed(cast("Encoder", net), tokens, make_batch=lambda some: data.sequences_of(rows[some])))
    return np.stack(vectors) if vectors else np.zeros((0, cast("Any", net).encoder.d_model), np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors scaled to length 1; a vector of zeros stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


class Neighbours:
    """The stored embeddings of the training data. vectors, mean, validation: as in the checkpoint, NumPy arrays."""

    def __init__(self, vectors: np.ndarray, mean: np.ndarray, validation: np.ndarray):
        self.vectors, self.mean, self.validation = vectors.astype(np.float32), mean.astype(np.float32), validation

    @classmethod
    def of(cls, loaded: Loaded) -> Neighbours | None:
        """Those of a checkpoint; None if it has none, CheckpointError if they are malformed."""
        if loaded.training_embeddings is None:
            return None
        try:
            arrays = [loaded.training_embeddings[name].numpy() for name in ("vectors", "mean", "validation")]
            width = cast("Any", loaded.net).encoder.d_model
        except (KeyError, TypeError, AttributeError):
            arrays, width = [np.zeros(0)] * 3, 0
        vectors, mean, validation = arrays
        fits = vectors.ndim == 2 and vectors.shape[1:] == mean.shape == (width,) and validation.ndim == 1
        if not fits or len(vectors) > LIMIT or len(validation) > VALIDATION or not np.isfinite(vectors).all():
            raise CheckpointError(
                f"{loaded.path}: the key {KEY} is damaged; write it again with trimer evaluate ckpt=... "
                "calibrate=true, or use another checkpoint"
            )
        return cls(*arrays)

    def nearness(self, vectors: np.ndarray) -> np.ndarray:
        """(n,) mean cosine of (n, D) embeddings to their nearest training embeddings; NaN without any of these."""
        count = min(NEIGHBOURS, len(self.vectors))
        if not count:
            return np.full(len(vectors), np.nan, np.float32)
        centred = unit(np.asarray(vectors, np.float32) - self.mean)
        means = [np.zeros(0, np.float32)]
        for start in range(0, len(centred), CHUNK):
            cosines = centred[start : start + CHUNK] @ self.vectors.T
            means.append(np.partition(cosines, -count, axis=1)[:, -count:].mean(1))
        return np.concatenate(means)

    def applicability(self, vectors: np.ndarray) -> list[float | None]:
        """The applicability of each of (n, D) embeddings, 0 to 1; None without validation sequences."""
        if not len(self.validation) or not len(self.vectors):
            return [None] * len(vectors)
        ranks = np.searchsorted(self.validation, self.nearness(vectors), side="right")
        return (ranks / len(self.validation)).tolist()


def _sample(rows: np.ndarray, limit: int, random: np.random.Generator) -> np.ndarray:
    """All rows, or a random sample of them in ascending order."""
    return rows if len(rows) <= limit else np.sort(random.permutation(rows)[:limit])
