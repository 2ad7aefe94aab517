"""The word somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most like `word`, or None if nothing is near.

    Keys are dotted: `lr` finds `optimizer.lr`, because the last part counts as a whole word too.

    >>> nearest("data.numworkers", ["data.num_workers", "data.seed"])
    'data.num_workers'
    """
    leaf = word.rpartition(".")[2]

    def likeness(candidate: str) -> tuple[float, int]:
        whole = SequenceMatcher(None, word, candidate, autojunk=False).ratio()
        end = SequenceMatcher(None, leaf, candidate.rpartition(".")[2], autojunk=False).ratio()
        # The shorter of two equals is the more likely: `seed` before `data.seed`.
        return max(whole, 0.85 * end, (whole + end) / 2), -len(candidate)

    best = max(candidates, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] >= cutoff else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean x?`, or nothing."""
    found = nearest(word, candidates)
    return f"; did you mean {found}?" if found else ""
