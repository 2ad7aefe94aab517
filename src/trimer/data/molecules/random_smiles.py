"""Molecules written from another atom in every epoch: the same molecule, other tokens (Arús-Pous et al. 2019)."""

from __future__ import annotations

import numpy as np
from rdkit import Chem

from trimer.chemistry.identifiers import parse
from trimer.errors import ConfigError


class RandomSmiles:
    """Rewrites some molecules, as augmentation in training.

    share: of the molecules of a batch that are rewritten. tokenizer: of SMILES as they are written; with deepSMILES or
    SELFIES it is refused. Which, and how, depends on (seed, epoch, row) alone.
    """

    def __init__(self, tokenizer, share: float, max_length: int, seed: int = 0):
        if not 0 <= share <= 1:
            raise ValueError(f"random_smiles={share} must be a share from 0 to 1")
        if share and not hasattr(tokenizer, "encode_as_written"):
            raise ConfigError(f"data.random_smiles: {type(tokenizer).__name__} cannot encode a SMILES as it is written")
        self.tokenizer, self.share, self.max_length, self.seed = tokenizer, share, max_length, seed

    def __call__(self, smiles: str, tokens: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """The tokens of the molecule, rewritten or as given; as given too where the rewritten ones are too many."""
        random = np.random.default_rng([self.seed, epoch, row])
        if random.random() >= self.share:
            return tokens
        written = Chem.MolToRandomSmilesVect(parse(smiles), 1, randomSeed=int(random.integers(1, 2**31 - 1)))[0]
        found = self.tokenizer.encode_as_written(written)
        return tokens if len(found) > self.max_length else found
