"""Masking for masked language modelling: some tokens of a sequence are masked and predicted from the others.

Source: Devlin et al. 2019, "BERT", section 3.1; Lin et al. 2023 (ESM-2) use the same proportions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trimer.data.core.draws import STEP, mix, positions, uniform
from trimer.tokenizers.alphabet import Alphabet


@dataclass(eq=False)
class Masking:
    """Chooses the tokens to predict and corrupts them.

    ratio: probability of each token to be chosen, independently, so a short sequence may have no chosen token; special
    tokens and unknown letters are never chosen. mask, replace: fractions of the chosen tokens that become `<mask>`, and
    a random one of the alphabet's replacements (the 20 amino acids, including the true one); the rest stay unchanged.
    end_ratio: the ratio changes linearly to this value over total_steps optimiser steps, then stays.
    """

    ratio: float
    mask: float
    replace: float
    end_ratio: float | None = None
    total_steps: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("ratio", self.ratio), ("end_ratio", self.end_ratio)):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name}={value} must be above 0 and at most 1")
        if min(self.mask, self.replace) < 0 or self.mask + self.replace > 1 + 1e-9:
            raise ValueError(f"mask={self.mask} and replace={self.replace} must be 0 or more and sum to at most 1")
        if self.end_ratio is not None and (self.total_steps is None or self.total_steps < 1):
            raise ValueError(f"end_ratio={self.end_ratio} needs total_steps, the optimiser steps to get there")

    def ratio_at(self, step: int) -> float:
        """The masking ratio at an optimiser step, counted from 0."""
        if self.end_ratio is None or self.total_steps is None:
            return self.ratio
        return self.ratio + (self.end_ratio - self.ratio) * min(step / self.total_steps, 1.0)

    def __call__(
        self,
        tokens: np.ndarray,
        lengths: np.ndarray,
        keys: np.ndarray,
        alphabet: Alphabet,
        step: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The corrupted tokens, and the (M,) int64 positions of the chosen ones; M may be 0.

        tokens: (T,) ids of B concatenated sequences. lengths: (B,). keys: (B,) uint64 from `draws.keys`. The result for
        a sequence depends only on its tokens, its key and the step.
        """
        bits = positions(keys, lengths)
        bound = np.uint64(min(int(self.ratio_at(step) * 2.0**64), 2**64 - 1))
        chosen = np.flatnonzero((bits < bound) & alphabet.hideable[tokens])
        chosen_bits = mix(bits[chosen] + STEP)
        drawn = uniform(chosen_bits)
        replacements = alphabet.replacements
        index = (mix(chosen_bits + STEP) >> np.uint64(32)) * np.uint64(len(replacements)) >> np.uint64(32)
        replaced = np.where(drawn < self.mask + self.replace, replacements[index.astype(np.int64)], tokens[chosen])
        corrupted = tokens.copy()
        corrupted[chosen] = np.where(drawn < self.mask, alphabet.mask, replaced)
        return corrupted, chosen
