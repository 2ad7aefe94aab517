"""Batches of labelled sequences, as they stand in the store or, of molecules in training, written in another way.

Shapes: M modifications, E elements.
"""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from trimer.data.core.batches import LabelledBatch
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey
from trimer.data.core.store import Store
from trimer.data.molecules.random_smiles import RandomSmiles
from trimer.data.peptides.peptide_batches import flat_peptides
from trimer.flat import Flat


class LabelledRows(Dataset):
    """Batches of sequences with their labels by BatchKey; molecules rewritten by `rewrite` where it is given.

    compositions: (M, E) atoms that the modifications of peptides add, in the order of their numbers in the store.
    """

    def __init__(
        self,
        store: Store,
        labels: np.ndarray | Ragged,
        rewrite: RandomSmiles | None = None,
        compositions: np.ndarray | None = None,
    ):
        self.store = store
        self.labels = labels
        self.rewrite = rewrite
        self.compositions = compositions

    @property
    def by_residue(self) -> bool:
        """Whether the labels are those of residues."""
        return isinstance(self.labels, Ragged)

    @property
    def growth(self) -> float:
        """How much longer a rewritten molecule can be on average over a few of them."""
        return 1.0 if self.rewrite is None else 1.25

    def __getitem__(self, key: BatchKey) -> LabelledBatch:
        tokens = self.store.ragged("tokens")
        labels = np.concatenate([self.labels[row] for row in key.rows]) if self.by_residue else self.labels[key.rows]
        if self.rewrite is not None:
            texts = self.store.strings("text", key.rows)
            written = zip(texts, key.rows, strict=True)
            sequence = Flat.pack([self.rewrite(text, tokens[row], key.epoch, int(row)) for text, row in written])
        elif self.compositions is not None:
            modifications = self.store.ragged("modifications").take(key.rows)
            sequence = flat_peptides(tokens.take(key.rows), modifications, self.compositions)
        else:
            here = tokens.take(key.rows)
            sequence = Flat.from_concatenated(here.values, here.lengths)
        return LabelledBatch.of(sequence, labels, key.rows)
