"""SMILES augmentation: a new random SMILES of the same molecule in every epoch (Arús-Pous et al. 2019)."""

from __future__ import annotations

import numpy as np
from rdkit import Chem

from trimer.chemistry.identifiers import parse
from trimer.errors import ConfigError


class RandomSmiles:
    """Replace some SMILES by random ones of the same molecule, as augmentation in training.

    share: fraction of the molecules that is rewritten. tokenizer: of SMILES; ConfigError for deepSMILES and SELFIES.
    The result depends on (seed, epoch, row) only.
    """

    def __init__(self, tokenizer, share: float, max_length: int, seed: int = 0):
        if not 0 <= share <= 1:
            raise ValueError(f"random_smiles={share} must be a fraction from 0 to 1")
        if share and not hasattr(tokenizer, "encode_as_written"):
            raise ConfigError(f"data.random_smiles: {type(tokenizer).__name__} cannot encode a SMILES as it is written")
        self.tokenizer, self.share, self.max_length, self.seed = tokenizer, share, max_length, seed

    def __call__(self, smiles: str, tokens: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """Tokens of a random SMILES, or `tokens` unchanged: if not drawn, or if the new ones exceed max_length."""
        random = np.random.default_rng([self.seed, epoch, row])
        if random.random() >= self.share:
            return tokens
        random_smiles = Chem.MolToRandomSmilesVect(parse(smiles), 1, randomSeed=int(random.integers(1, 2**31 - 1)))[0]
        rewritten = self.tokenizer.encode_as_written(random_smiles)
        return tokens if len(rewritten) > self.max_length else rewritten
