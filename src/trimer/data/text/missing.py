"""Texts that mean a missing value."""

from __future__ import annotations

MISSING_LABEL = frozenset({"", "NA", "N/A", "#N/A", "<NA>", "nan", "NaN", "NAN", "null", "NULL"})
MISSING_FIELD = frozenset({"", "n/a", "na", "nan", "none", "null", "null-null-null-null", "n/a min", "n/a sec"})
_LONGEST = max(map(len, MISSING_FIELD))


def known(text: str | None) -> str | None:
    """The stripped text of a label; None if it means a missing value (empty, NA, nan, null).

    The text `None` is a value: it may be the name of a class.
    """
    text = text.strip() if text is not None else ""
    return None if text in MISSING_LABEL else text


def present(value: object) -> str | None:
    """The stripped text of a field of a spectrum; None if it means a missing value."""
    if value is None:
        return None
    text = str(value).strip()
    return None if len(text) <= _LONGEST and text.lower() in MISSING_FIELD else text
