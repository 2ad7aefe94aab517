"""Masked language modelling: some tokens of a sequence are hidden, and are to be found from the others.

Source: Devlin et al. 2019, "BERT", section 3.1; Lin et al. 2023 (ESM-2) use the same shares.
"""

from __future__ import annotations

import numpy as np

from trimer.data.core.draws import STEP, mix, positions, uniform
from trimer.tokenizers.alphabet import Alphabet


class Masking:
    """Which tokens are to be found, and what stands in their place.

    ratio: chance of each token to be chosen, drawn for each alone, so that a short sequence may have none; specials
    and unknown letters never are. mask, replace: shares of the chosen that become `<mask>`, and one of the alphabet's
    replacements, as the 20 amino acids (any, also the true one); the rest stays as it is. end_ratio: the ratio moves
    there, evenly over total_steps optimiser steps, and stays.
    """

    def __init__(
        self,
        ratio: float,
        mask: float,
        replace: float,
        end_ratio: float | None = None,
        total_steps: int | None = None,
    ):
        for name, value in (("ratio", ratio), ("end_ratio", ratio if end_ratio is None else end_ratio)):
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value} must be above 0 and at most 1")
        if min(mask, replace) < 0 or mask + replace > 1 + 1e-9:
            raise ValueError(f"mask={mask} and replace={replace} must be 0 or more and sum to at most 1")
        if end_ratio is not None and (total_steps is None or total_steps < 1):
            raise ValueError(f"end_ratio={end_ratio} needs total_steps, the optimiser steps to get there")
        self.ratio = ratio
        self.mask = mask
        self.replace = replace
        self.end_ratio = end_ratio
        self.total_steps = total_steps

    def ratio_at(self, step: int) -> float:
        """The ratio at an optimiser step, counted from 0."""
        if self.end_ratio is None:
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
        """The damaged tokens, and the (M,) int64 places of the chosen ones; M may be 0.

        tokens: (T,) ids, B sequences end to end. lengths: (B,). keys: (B,) uint64 of `draws.keys`; what happens to a
        sequence depends on its own tokens, its key and the step alone.
        """
        bits = positions(keys, lengths)
        bound = np.uint64(min(int(self.ratio_at(step) * 2.0**64), 2**64 - 1))
        places = np.flatnonzero((bits < bound) & alphabet.hideable[tokens])
        kind = mix(bits[places] + STEP)
        share = uniform(kind)
        other = mix(kind + STEP) >> np.uint64(32)
        others = alphabet.replacements
        other = others[(other * np.uint64(len(others)) >> np.uint64(32)).astype(np.int64)]
        damaged = tokens.copy()
        damaged[places] = np.where(
            share < self.mask, alphabet.mask, np.where(share < self.mask + self.replace, other, tokens[places])
        )
        return damaged, places
