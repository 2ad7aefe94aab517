"""The molecules a model was trained on, as packed fingerprints in its checkpoint.

The key `training_molecules` of a checkpoint holds `fingerprints`, a uint8 tensor (N, 256) of the different Morgan
fingerprints of the train split (`trimer.metrics.packed_fingerprints`), and `molecules`, the number of different
fingerprints of the whole split. N is at most LIMIT; of a larger split a random sample is stored, so similarities to it
are lower limits. Only the last training counts: molecules of earlier stages are not included.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trimer.errors import CheckpointError
from trimer.metrics.packed_fingerprints import BYTES, PackedLibrary, packed_fingerprints

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

KEY = "training_molecules"  # of a checkpoint
LIMIT = 100_000  # fingerprints of a checkpoint: 26 MB
READ = 2 * LIMIT  # molecules whose fingerprints are computed, at about 0.3 ms each


def training_molecules(smiles: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The value of `training_molecules` in a checkpoint. smiles: of the train split, possibly repeated."""
    distinct = sorted(set(smiles))
    random = np.random.default_rng(seed)
    if len(distinct) > READ:
        distinct = [distinct[row] for row in sorted(random.permutation(len(distinct))[:READ])]
    fingerprints = np.unique(packed_fingerprints(distinct), axis=0)
    molecules = len(fingerprints)
    if molecules > LIMIT:
        fingerprints = fingerprints[np.sort(random.permutation(molecules)[:LIMIT])]
        log.warning(
            "the checkpoint stores the fingerprints of %s of %s training molecules: similarities to the training data "
            "are lower limits",
            f"{LIMIT:,}",
            f"{molecules:,}",
        )
    return {"fingerprints": torch.from_numpy(fingerprints.copy()), "molecules": molecules}


def library_of(loaded: Loaded) -> PackedLibrary | None:
    """The training molecules of a checkpoint; None if it has none, CheckpointError if they are malformed."""
    stored = loaded.training_molecules
    if stored is None:
        return None
    fingerprints = stored.get("fingerprints") if isinstance(stored, dict) else None
    if (
        not isinstance(fingerprints, torch.Tensor)
        or fingerprints.dtype != torch.uint8
        or fingerprints.ndim != 2
        or fingerprints.shape[1] != BYTES
        or len(fingerprints) > LIMIT
    ):
        raise CheckpointError(
            f"{loaded.path}: the key {KEY} must hold uint8 fingerprints of shape (N, {BYTES}), N at most {LIMIT:,}; "
            "use another checkpoint, or write the key again with trimer evaluate ckpt=... calibrate=true"
        )
    return PackedLibrary(fingerprints.numpy())
