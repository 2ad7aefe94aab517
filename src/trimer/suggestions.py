"""The nearest valid name for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

LONGEST = 100  # characters of a misspelt word; the time of the comparison grows with their square


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate that is most similar to `word`, or None if none is similar enough.

    Keys are dotted: `lr` matches `optimizer.lr`, because the last part is also compared on its own.

    >>> nearest("data.numworkers", ["data.num_workers", "data.seed"])
    'data.num_workers'
    """
    if len(word) > LONGEST:
        return None
    leaf = word.rpartition(".")[2]

    def similarity(candidate: str) -> tuple[float, int]:
        whole_ratio = SequenceMatcher(None, word, candidate, autojunk=False).ratio()
        leaf_ratio = SequenceMatcher(None, leaf, candidate.rpartition(".")[2], autojunk=False).ratio()
        # Of equally similar candidates, prefer the shortest: `seed` before `data.seed`.
        return max(whole_ratio, 0.85 * leaf_ratio, (whole_ratio + leaf_ratio) / 2), -len(candidate)

    best = max(candidates, key=similarity, default=None)
    return best if best is not None and similarity(best)[0] >= cutoff else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean x?`, or an empty string if no candidate is similar."""
    name = nearest(word, candidates)
    return f"; did you mean {name}?" if name else ""
