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
}
VERBS = {"were": "was", "are": "is", "have": "has"}


def counted(number: int, plural: str, verb: str = "") -> str:
    """The number with thousands separators, and the noun in the singular or plural.

    plural: the noun, perhaps with words before it; the last word changes. verb: that follows, such as `are`.

    >>> counted(1, "spectra", "have"), counted(2000, "training molecules")
    ('1 spectrum has', '2,000 training molecules')
    """
    if number == 1:
        plural, verb = singular(plural), verb and VERBS.get(verb, f"{verb}s")
    return f"{number:,} {plural} {verb}".rstrip()


def singular(plural: str) -> str:
    """The singular of a noun; of several words the last one changes."""
    before, space, last = plural.rpartition(" ")
    return before + space + IRREGULAR.get(last, last.removesuffix("s"))
