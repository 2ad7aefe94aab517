"""Packing of sequences into the rows of a static batch, so that the rows are nearly full.

Shapes: n sequences, D sizes of each: its token count, or those of source and target.
"""

from __future__ import annotations

import numpy as np

BY_CHOICE = 5  # once no more than this many average sequences fit into a row, the next one is chosen by its size


def pack(sizes: np.ndarray, capacity: np.ndarray, longest: int) -> np.ndarray:
    """(n,) row of each sequence, from 0; the sizes in a row never sum to more than the capacity.

    sizes: (n, D) integers, none above the capacity, (D,). longest: most sequences in a row. A row takes sequences in
    their order until about five more would fit. Then, with room for k > 1 sequences, it takes the one closest to 1 / k
    of the free space on every side, and finally the one that leaves the least space. So short and long sequences are
    used up at the same rate.
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


def assign_rows(sizes: np.ndarray, capacity: np.ndarray, rows: int, planned: np.ndarray) -> np.ndarray | None:
    """(n,) row of each sequence: the planned one, unless noise made that row too long; None if there is no room.

    sizes: (n, D) current sizes. planned: (n,) planned row of each sequence, below `rows`.
    """
    used = np.zeros((rows, sizes.shape[1]), np.int64)
    np.add.at(used, planned, sizes)
    if (used <= capacity).all():
        return planned
    assigned, used = planned.copy(), np.zeros_like(used)
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
        row = fits[np.argmax(used[fits].sum(1))]  # the fullest row with room
        assigned[number] = row
        used[row] += sizes[number]
    return assigned
