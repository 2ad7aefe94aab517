"""The texts that stand for a missing value."""

from __future__ import annotations

MISSING_LABEL = frozenset({"", "NA", "N/A", "#N/A", "<NA>", "nan", "NaN", "NAN", "null", "NULL"})
MISSING_FIELD = frozenset({"", "n/a", "na", "nan", "none", "null", "null-null-null-null", "n/a min", "n/a sec"})
_LONGEST = max(map(len, MISSING_FIELD))


def known(text: str | None) -> str | None:
    """A text without white space around it; None where it says that there is no value (empty, NA, nan, null).

    `None` is a text like any other: it may well be the name of a class.
    """
    text = text.strip() if text is not None else ""
    return None if text in MISSING_LABEL else text


def present(value: object) -> str | None:
    """The text of a value, or None for the many ways in which files write 'nothing here'."""
    if value is None:
        return None
    text = str(value).strip()
    return None if len(text) <= _LONGEST and text.lower() in MISSING_FIELD else text
