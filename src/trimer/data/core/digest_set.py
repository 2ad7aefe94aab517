"""A growing set of 64-bit digests, to recognise duplicates among hundreds of millions of records."""

from __future__ import annotations

import numpy as np


class Seen:
    """The digests so far, as sorted arrays: 8 bytes for each, about 20 for a moment while two arrays are merged.

    An array is merged with the one before it once it is half as long, so there are few and each digest is moved
    rarely. Among 100 million digests two are equal by chance in 1 of 4,000 corpora.
    """

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._sorted))

    def repeated(self, digests: np.ndarray) -> np.ndarray:
        """(n,) bool: whether each of (n,) int64 digests occurred before, here or in an earlier call; adds them."""
        distinct, first = np.unique(digests, return_index=True)
        known = np.zeros(len(distinct), bool)
        for earlier in self._sorted:
            known |= earlier[np.searchsorted(earlier, distinct).clip(max=len(earlier) - 1)] == distinct
        repeated = np.ones(len(digests), bool)
        repeated[first[~known]] = False
        if not known.all():
            self._sorted.append(distinct[~known])
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            last = self._sorted.pop()
            both = np.concatenate([self._sorted.pop(), last])
            both.sort(kind="stable")  # linear for two sorted arrays
            self._sorted.append(both)
        return repeated
