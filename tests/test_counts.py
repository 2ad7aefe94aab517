"""Numbers with their noun in messages."""

from __future__ import annotations

import pytest

from trimer.counts import counted


@pytest.mark.parametrize(
    ("number", "plural", "text"),
    [
        (1, "spectra", "1 spectrum"),
        (0, "spectra", "0 spectra"),
        (2000, "molecules", "2,000 molecules"),
        (1, "unknown classes", "1 unknown class"),
        (1, "entries", "1 entry"),
    ],
)
def test_the_noun_agrees_with_the_number(number, plural, text):
    assert counted(number, plural) == text


@pytest.mark.parametrize(
    ("number", "verb", "text"),
    [
        (1, "have", "1 row has"),
        (3, "were", "3 rows were"),
        (1, "wait", "1 row waits"),
    ],
)
def test_the_verb_agrees_with_the_number(number, verb, text):
    assert counted(number, "rows", verb) == text
