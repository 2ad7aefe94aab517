"""Batches of peptides: concatenated tokens, with the elemental compositions of their modifications.

Shapes: T tokens, B peptides, M modified residues and termini, n distinct modifications, E elements, C conditions.
"""

from __future__ import annotations

import numpy as np
import torch

from trimer.data.core.ragged import Ragged
from trimer.flat import Flat, FlatPeptides


def flat_peptides(
    tokens: Ragged, modifications: Ragged, compositions: np.ndarray, conditions: np.ndarray | None = None
) -> FlatPeptides:
    """Concatenate B peptides of a store.

    modifications: aligned with the tokens; 0 for none, else 1 + the row in compositions, (n, E). conditions: (B, C)
    acquisition conditions.
    """
    flat = Flat.from_concatenated(tokens.values, tokens.lengths)
    positions = np.flatnonzero(modifications.values)
    added = compositions[modifications.values[positions].astype(np.int64) - 1]
    return FlatPeptides(
        flat.tokens,
        flat.lengths,
        flat.sizes,
        torch.from_numpy(positions),
        torch.from_numpy(np.asarray(added, np.float32).reshape(len(positions), compositions.shape[1])),
        None if conditions is None else torch.from_numpy(np.asarray(conditions, np.float32)),
    )
