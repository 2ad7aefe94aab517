"""What masking has to know of a vocabulary: how a sequence is framed, and which tokens may be hidden and put in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Alphabet:
    """begin, end: the frame of a sequence. mask: what stands for a hidden token.

    hideable: (V,) bool, which ids may be hidden. replacements: the ids that may stand in a wrong place.
    """

    begin: int
    end: int
    mask: int
    hideable: np.ndarray
    replacements: np.ndarray
