"""Short names of settings for places without room for a whole dotted key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Dotted key -> its last word, or as many of its last words as no other key shares: `split.seed` beside `seed`."""
    short: dict[str, str] = {}
    left, length = list(dict.fromkeys(keys)), 1
    while left:
        ends = {key: ".".join(key.split(".")[-length:]) for key in left}
        counts = Counter(ends.values())
        short |= {key: end for key, end in ends.items() if counts[end] == 1 or end == key}
        left = [key for key in left if key not in short]
        length += 1
    return {key: short[key] for key in keys}
