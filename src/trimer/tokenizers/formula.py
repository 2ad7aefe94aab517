"""Molecular formulas as tokens, one per element, for a decoder that writes the formula before the molecule.

C16H20N2O3 reads `<C16> <H20> <N2> <O3> <formula>`: elements in a fixed order, those without atoms left out, and a token
that ends the formula. A formula that is known from elsewhere, such as one that agrees with the precursor m/z, can so be
given to the decoder as the first tokens (a prompt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

# Element -> largest number of atoms with a token, in the order in which they are written.
ELEMENTS = {
    "C": 100, "H": 200, "N": 30, "O": 50, "P": 8, "S": 8, "F": 40, "Cl": 12, "Br": 8, "I": 6, "Si": 10, "B": 4, "Se": 3,
    "Na": 3, "K": 3,
}  # fmt: skip
UNKNOWN, END = "<formula?>", "<formula>"
_PART = re.compile(r"([A-Z][a-z]?)(\d*)")


def element_counts(formula: str) -> dict[str, int] | None:
    """The number of atoms of each element of a Hill formula; None if it is charged or cannot be read."""
    parts = _PART.findall(formula)
    if not parts or "".join(element + number for element, number in parts) != formula:
        return None
    counts: dict[str, int] = {}
    for element, number in parts:
        counts[element] = counts.get(element, 0) + (int(number) if number else 1)
    return counts


class FormulaTokens:
    """The tokens of formulas and their local ids, which start at 0."""

    end, unknown = END, UNKNOWN
    elements = tuple(ELEMENTS)

    def __init__(self) -> None:
        counts = [f"<{element}{n}>" for element, most in ELEMENTS.items() for n in range(1, most + 1)]
        self.tokens: list[str] = [UNKNOWN, END, *counts]
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, counts: Mapping[str, int] | None) -> np.ndarray:
        """(L,) int32 local ids of a formula, which end with `<formula>`; `<formula?>` for one that has no tokens."""
        if not counts or any(n > ELEMENTS.get(element, 0) for element, n in counts.items()):
            return np.array([self.ids[UNKNOWN], self.ids[END]], np.int32)
        tokens = [f"<{element}{counts[element]}>" for element in ELEMENTS if counts.get(element)]
        return np.array([self.ids[token] for token in [*tokens, END]], np.int32)
