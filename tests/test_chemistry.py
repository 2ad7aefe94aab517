"""Adducts are known by their form and by the charge that is stated."""

from __future__ import annotations

import pytest

from trimer.chemistry import harmonise_adduct


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[M+H]+", "[M+H]+"),
        ("M+H", "[M+H]+"),
        ("[M+H]1+", "[M+H]+"),
        ("[M+2H]2+", "[M+2H]2+"),
        ("[M+2H]++", "[M+2H]2+"),
        ("[M-H]1-", "[M-H]-"),
        ("[M+H]2+", None),
        ("[M-H]+", None),
        ("[M+H]-", None),
        ("[M+K]2+", None),
    ],
)
def test_a_stated_charge_must_be_that_of_the_adduct(text, expected):
    assert harmonise_adduct(text) == expected
