"""Batches of labelled sequences, as they stand in the store or, of molecules in training, written in another way."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from trimer.data.batches import LabelledBatch
from trimer.data.random_smiles import RandomSmiles
from trimer.data.sampler import BatchKey
from trimer.data.store import Ragged, Store


class LabelledRows(Dataset):
    """Batches of sequences with their labels by BatchKey; molecules rewritten by `rewrite` where it is given."""

    def __init__(self, store: Store, labels: np.ndarray | Ragged, rewrite: RandomSmiles | None = None):
        self.store = store
        self.labels = labels
        self.rewrite = rewrite

    def __getitem__(self, key: BatchKey) -> LabelledBatch:
        tokens = self.store.ragged("tokens")
        if isinstance(self.labels, Ragged):
            labels = np.concatenate([self.labels[row] for row in key.rows])
        else:
            labels = self.labels[key.rows]
        sequences = [tokens[row] for row in key.rows]
        if self.rewrite is not None:
            texts = self.store.strings("text", key.rows)
            sequences = [
                self.rewrite(text, sequence, key.epoch, int(row))
                for text, sequence, row in zip(texts, sequences, key.rows, strict=True)
            ]
        return LabelledBatch.pack(sequences, labels, key.rows)
