"""Embeddings of a sample of the data before fine-tuning, kept in the run folder for comparison with those after."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from trimer.accelerators.cpu_evaluation import any_shapes
from trimer.errors import ConfigError
from trimer.prediction.embedding import embed
from trimer.reporting.attempts import attempt
from trimer.reporting.label_figures import NO_UMAP, PROJECTIONS
from trimer.suggestions import did_you_mean

log = logging.getLogger(__name__)

NAME = "embeddings_before.npz"
SHOWN = 4  # labels of a multi-label task that colour the figure, unless they are chosen


class EmbeddingsBefore(L.Callback):
    """Writes `embeddings_before.npz` when training begins: name of the `store`, `rows` of it, and their `vectors`.

    Also the names of the `labels` by which the figure is coloured, none for classes and numbers.

    folder: the run folder. sample: the maximum number of rows of the training split, and of the test split, drawn with
    `seed`. projection: "pca" or "umap", used by the figure. A vector is the mean over the tokens of a sequence after
    the last block. labels: of several yes-or-no labels, those that colour the figure; None: the first four, which are
    the most frequent where the source sorts them. A resumed run keeps the file.
    """

    def __init__(
        self,
        folder: str,
        sample: int = 2000,
        projection: str = "pca",
        seed: int = 0,
        labels: Sequence[str] | None = None,
    ):
        if projection not in PROJECTIONS:
            raise ValueError(f"projection={projection} must be one of {', '.join(PROJECTIONS)}")
        if projection == "umap" and find_spec("umap") is None:
            raise ConfigError(NO_UMAP)
        self.projection = projection
        self.path = Path(folder) / NAME
        self.sample = sample
        self.seed = seed
        self.labels = None if labels is None else list(labels)

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        data = trainer.datamodule
        if not trainer.is_global_zero or self.path.exists():
            return
        if not hasattr(data, "sequences_of"):
            raise ConfigError(
                f"callbacks=embeddings needs labelled sequences, and data={type(data).__name__} has none: use "
                "callbacks=default"
            )
        labels = self.labels_of(data)
        if trainer.ckpt_path is not None:  # the weights are already those of the checkpoint
            log.warning("embeddings: this run began without %s, so there is no figure of the model before", NAME)
            return
        with any_shapes(module):
            attempt(NAME, self._save, module.net, data, labels)  # only a figure needs it

    def labels_of(self, data: Any) -> list[str]:
        """The labels that colour the figure, empty for classes and numbers; ConfigError if one does not exist."""
        target = getattr(data, "target", None)
        if target != "multi":
            if self.labels:
                raise ConfigError(
                    f"callbacks.embeddings.labels={self.labels} chooses among yes-or-no labels (data.target=multi); "
                    f"these data have data.target={target}: set it to null"
                )
            return []
        chosen = list(data.classes[:SHOWN]) if self.labels is None else self.labels
        for name in chosen:
            if name not in data.classes:
                raise ConfigError(
                    f"callbacks.embeddings.labels: {name!r} is not a label of these data"
                    f"{did_you_mean(name, data.classes)}; the labels are {', '.join(data.classes)}"
                )
        return chosen

    def _save(self, net, data, labels: list[str]) -> None:
        splits = [split for split in ("train", "test") if split in data.split.names]
        rows = np.concatenate([self._sample(data.split.rows(split)) for split in splits])
        vectors = vectors_of(net, data, rows)
        facts = {"store": data.folder.name, "projection": self.projection, "labels": np.array(labels, dtype=str)}
        np.savez(self.path, rows=rows, vectors=vectors, **facts)

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
