"""Embeddings of a sample of the data before fine-tuning, kept in the run folder for comparison with those after."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from trimer.errors import ConfigError
from trimer.prediction.embedding import embed
from trimer.reporting.attempts import attempt
from trimer.reporting.label_figures import NO_UMAP, PROJECTIONS

log = logging.getLogger(__name__)

NAME = "embeddings_before.npz"


class EmbeddingsBefore(L.Callback):
    """Writes `embeddings_before.npz` when training begins: name of the `store`, `rows` of it, and their `vectors`.

    folder: the run folder. sample: the maximum number of rows of the training split, and of the test split, drawn with
    `seed`. projection: "pca" or "umap", used by the figure. A vector is the mean over the tokens of a sequence after
    the last block. A resumed run keeps the file.
    """

    def __init__(self, folder: str, sample: int = 2000, projection: str = "pca", seed: int = 0):
        if projection not in PROJECTIONS:
            raise ValueError(f"projection={projection} must be one of {', '.join(PROJECTIONS)}")
        if projection == "umap" and find_spec("umap") is None:
            raise ConfigError(NO_UMAP)
        self.projection = projection
        self.path = Path(folder) / NAME
        self.sample = sample
        self.seed = seed

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        data = trainer.datamodule
        if not trainer.is_global_zero or self.path.exists():
            return
        if not hasattr(data, "sequences_of"):
            raise ConfigError(
                f"callbacks=embeddings needs labelled sequences, and data={type(data).__name__} has none: use "
                "callbacks=default"
            )
        if trainer.ckpt_path is not None:  # the weights are already those of the checkpoint
            log.warning("embeddings: this run began without %s, so there is no figure of the model before", NAME)
            return
        attempt(NAME, self._save, module.net, data)  # only a figure needs it

    def _save(self, net, data) -> None:
        splits = [split for split in ("train", "test") if split in data.split.names]
        rows = np.concatenate([self._sample(data.split.rows(split)) for split in splits])
        vectors = vectors_of(net, data, rows)
        np.savez(self.path, store=data.folder.name, rows=rows, projection=self.projection, vectors=vectors)

    def _sample(self, rows: np.ndarray) -> np.ndarray:
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[: self.sample])


def vectors_of(net, data, rows: np.ndarray) -> np.ndarray:
    """(n, D) float32 embeddings of rows, by the network in evaluation mode."""
    training = net.training
    net.eval()
    try:
        tokens = data.store.ragged("tokens").take(rows)
        vectors = embed(net, tokens, "mean", None, None, lambda selected: data.sequences_of(rows[selected]))
        return np.stack(list(vectors))
    finally:
        net.train(training)
