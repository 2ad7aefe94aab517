"""Peptides laid end to end, with the atoms that their modifications add.

Shapes: T tokens, B peptides, M modifications that occur, E elements.
"""

from __future__ import annotations

import numpy as np
import torch

from trimer.data.core.ragged import Ragged
from trimer.flat import Flat, FlatPeptides


def flat_peptides(
    tokens: Ragged, modifications: Ragged, compositions: np.ndarray, conditions: np.ndarray | None = None
) -> FlatPeptides:
    """B peptides of a store.

    modifications: aligned with the tokens, 0 where there is none, else one more than the row in compositions, (n, E).
    conditions: (B, C) of the measurements.
    """
    flat = Flat.from_concatenated(tokens.values, tokens.lengths)
    places = np.flatnonzero(modifications.values)
    added = compositions[modifications.values[places].astype(np.int64) - 1]
    told = None if conditions is None else torch.from_numpy(np.asarray(conditions, np.float32))
    return FlatPeptides(
        flat.tokens,
        flat.lengths,
        flat.sizes,
        torch.from_numpy(places),
        torch.from_numpy(np.asarray(added, np.float32).reshape(len(places), compositions.shape[1])),
        told,
    )
