"""Batches of labelled sequences, with random SMILES of molecules as an optional augmentation.

Shapes: M modifications, E elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from trimer.data.core.batches import LabelledBatch
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey
from trimer.data.core.store import Store
from trimer.data.labelled import molecule_features
from trimer.data.labelled.label_counts import labels_of_rows
from trimer.data.peptides.peptide_batches import flat_peptides
from trimer.flat import Flat

# (SMILES, its tokens, epoch, row) -> tokens of another SMILES of the molecule, as `RandomSmiles`
Rewrite = Callable[[str, np.ndarray, int, int], np.ndarray]


@dataclass(eq=False)
class LabelledRows(Dataset):
    """Batches of sequences with their labels by BatchKey. rewrite: random SMILES for molecules, or None.

    compositions: (M, E) elemental compositions of the modifications of peptides, in the order of their numbers.
    features: names of further inputs for molecules (`trimer.data.labelled.molecule_features`).
    """

    store: Store
    labels: np.ndarray | Ragged
    rewrite: Rewrite | None = None
    compositions: np.ndarray | None = None
    features: Sequence[str] = ()

    @property
    def by_residue(self) -> bool:
        """Whether each residue has a label."""
        return isinstance(self.labels, Ragged)

    @property
    def growth(self) -> float:
        """Upper estimate of the mean length of rewritten molecules, relative to the stored ones."""
        return 1.0 if self.rewrite is None else 1.25

    def __getitem__(self, key: BatchKey) -> LabelledBatch:
        tokens = self.store.ragged("tokens")
        labels = labels_of_rows(self.labels, key.rows)
        if self.rewrite is not None:
            texts = self.store.strings("text", key.rows)
            pairs = zip(texts, key.rows.tolist(), strict=True)
            sequence = Flat.pack([self.rewrite(text or "", tokens[row], key.epoch, row) for text, row in pairs])
        elif self.compositions is not None:
            modifications = self.store.ragged("modifications").take(key.rows)
            sequence = flat_peptides(tokens.take(key.rows), modifications, self.compositions)
        else:
            taken = tokens.take(key.rows)
            sequence = Flat.from_concatenated(taken.values, taken.lengths)
        if self.features:
            molecules = [text or "" for text in self.store.strings("text", key.rows)]
            sequence.features = torch.from_numpy(molecule_features.matrix(molecules, self.features))
        return LabelledBatch.of(sequence, labels, key.rows)
