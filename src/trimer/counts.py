"""Numbers with the noun that they count, for messages: `1 spectrum`, `2,000 molecules`."""

from __future__ import annotations

IRREGULAR = {
    "spectra": "spectrum",
    "classes": "class",
    "libraries": "library",
    "entries": "entry",
    "indices": "index",
    "batches": "batch",
    "matches": "match",
    "processes": "process",
    "were": "was",
    "are": "is",
    "have": "has",
}


def counted(number: int, plural: str) -> str:
    """The number with thousands separators, and the noun in the singular or plural.

    plural: the noun, perhaps with words around it; its last word changes.

    >>> counted(1, "spectra"), counted(2000, "training molecules")
    ('1 spectrum', '2,000 training molecules')
    """
    return f"{number:,} {singular(plural) if number == 1 else plural}"


def singular(plural: str) -> str:
    """The singular of a noun, or of a verb such as `are`; of several words the last one changes."""
    before, space, last = plural.rpartition(" ")
    return before + space + IRREGULAR.get(last, last.removesuffix("s"))
