"""What masking needs from a vocabulary: first and last token, which tokens may be masked, and their replacements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Alphabet:
    """begin, end: first and last token of a sequence. mask: the id of the mask token.

    hideable: (V,) bool, ids that may be masked. replacements: ids that may replace a token at random.
    """

    begin: int
    end: int
    mask: int
    hideable: np.ndarray
    replacements: np.ndarray
