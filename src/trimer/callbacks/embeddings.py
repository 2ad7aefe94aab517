"""The embeddings of a sample of the data before fine-tuning, kept in the run folder to be shown beside those after."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import lightning as L
import numpy as np

from trimer.errors import ConfigError
from trimer.prediction.embedding import embed
from trimer.reporting.attempts import attempt
from trimer.reporting.label_figures import NO_UMAP, PROJECTIONS

log = logging.getLogger(__name__)

NAME = "embeddings_before.npz"


class EmbeddingsBefore(L.Callback):
    """Writes `embeddings_before.npz` when the training begins: the name of the `store`, `rows` of it, their `vectors`.

    folder: of the run. sample: at most so many rows of the train part, drawn by the seed, and as many of the test part.
    projection: "pca" or "umap", how they are to be shown. A vector is the mean over the tokens of a sequence, after the
    last block. A resumed run keeps the file.
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

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        data = trainer.datamodule
        if not trainer.is_global_zero or self.path.exists():
            return
        if not hasattr(data, "sequences_of"):
            raise ConfigError(
                f"callbacks=embeddings shows sequences by their labels, and data={type(data).__name__} has none "
                "of that kind: take callbacks=default"
            )
        if trainer.ckpt_path is not None:  # the weights are those of the checkpoint already
            log.warning("embeddings: this run was begun without %s, so there is no picture of before", NAME)
            return
        attempt(NAME, self._keep, module.net, data)  # for a figure only

    def _keep(self, net, data) -> None:
        parts = [part for part in ("train", "test") if part in data.split.names]
        rows = np.concatenate([self._some(data.split.rows(part)) for part in parts])
        kept = {"store": data.folder.name, "rows": rows, "projection": self.projection}
        np.savez(self.path, vectors=vectors_of(net, data, rows), **kept)

    def _some(self, rows: np.ndarray) -> np.ndarray:
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[: self.sample])


def vectors_of(net, data, rows: np.ndarray) -> np.ndarray:
    """(n, D) float32 embeddings of some rows, by a network in evaluation mode."""
    training = net.training
    net.eval()
    try:
        tokens = data.store.ragged("tokens").take(rows)
        found = embed(net, tokens, "mean", None, None, lambda some: data.sequences_of(rows[some]))
        return np.stack(list(found))
    finally:
        net.train(training)
