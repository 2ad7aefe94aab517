"""Which sequences share a row of a static batch, so that the rows are nearly full.

Shapes: n sequences, D sizes of each: its tokens, or those of source and target.
"""

from __future__ import annotations

import numpy as np

BY_CHOICE = 5  # sequences of average size that still fit, from which on the next one is chosen by its size


def pack(sizes: np.ndarray, capacity: np.ndarray, longest: int) -> np.ndarray:
    """(n,) number of the row of each sequence, from 0; in no row a sum of sizes is above the capacity.

    sizes: (n, D) integers, none above the capacity, (D,). longest: sequences of a row at most. A row takes sequences in
    their order until room for about five is left. Then, with room for k > 1, comes the one nearest to 1 / k of what is
    free on every side, and at last the one that leaves least. So short and long ones are used up at the same pace.
    """
    kinds, kind_of, counts = np.unique(sizes, axis=0, return_inverse=True, return_counts=True)
    kind_of = kind_of.reshape(-1)  # numpy 2.0 gave (n, 1)
    members, ends = np.argsort(kind_of, kind="stable"), np.cumsum(counts)
    mean, shares = np.maximum(sizes.mean(0), 1e-9), kinds / capacity
    rows = np.full(len(sizes), -1)
    row, following, left = 0, 0, len(sizes)
    while left:
        free, taken = capacity.copy(), 0
        while taken < longest and left:
            room = int((free / mean).min())
            while following < len(sizes) and rows[following] >= 0:
                following += 1
            kind = kind_of[following]
            if room <= BY_CHOICE or (kinds[kind] > free).any():
                fits = np.flatnonzero((counts > 0) & (kinds <= free).all(1))
                if not len(fits):
                    break
                if room > 1:
                    kind = fits[np.argmin(np.abs(shares[fits] - free / capacity / room).sum(1))]
                else:
                    kind = fits[np.argmax(shares[fits].sum(1))]
            rows[members[ends[kind] - counts[kind]]] = row
            counts[kind] -= 1
            free = free - kinds[kind]
            taken, left = taken + 1, left - 1
        row += 1
    return rows


def placed(sizes: np.ndarray, capacity: np.ndarray, rows: int, planned: np.ndarray) -> np.ndarray | None:
    """(n,) row of each sequence, the planned one unless noise has made the row too long; None if there is no room.

    sizes: (n, D) as they are now. planned: (n,) row of each, below `rows`.
    """
    used = np.zeros((rows, sizes.shape[1]), np.int64)
    np.add.at(used, planned, sizes)
    if (used <= capacity).all():
        return planned
    found, used = planned.copy(), np.zeros_like(used)
    waiting = []
    for number, row in enumerate(planned.tolist()):
        if (used[row] + sizes[number] <= capacity).all():
            used[row] += sizes[number]
        else:
            waiting.append(number)
    for number in sorted(waiting, key=lambda number: -int(sizes[number].sum())):
        fits = np.flatnonzero((used + sizes[number] <= capacity).all(1))
        if not len(fits):
            return None
        row = fits[np.argmax(used[fits].sum(1))]  # the fullest that has room
        found[number] = row
        used[row] += sizes[number]
    return found
