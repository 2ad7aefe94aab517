"""The fragments that a model predicts: ion series, charge and neutral loss, and which of them a peptide can form.

A cleavage site i of a peptide of L residues (1 to L - 1) gives the fragment b_i from the N terminus, and y_(L - i) from
the C terminus. Shapes: n = L - 1 sites, K channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trimer.errors import ConfigError
from trimer.peptides.proforma import Peptide

SERIES = ("b", "y")
# Neutral loss -> residues, one of which the fragment must contain. Phosphoric acid needs a phosphate.
LOSSES = {"H2O": "STDE", "NH3": "RKNQ", "H3PO4": ""}
_NAME = re.compile(r"([by])([1-9])(?:-(\w+))?")


@dataclass(frozen=True)
class Channel:
    """A fragment type: series "b" or "y", charge, and neutral loss ("" for none)."""

    series: str
    charge: int
    loss: str = ""

    @property
    def name(self) -> str:
        return f"{self.series}{self.charge}" + (f"-{self.loss}" if self.loss else "")

    def number(self, site: int, sites: int) -> int:
        """How many residues the fragment of a cleavage site has. site: from 0, of n sites."""
        return site + 1 if self.series == "b" else sites - site

    def ion(self, number: int) -> str:
        """The name of the fragment with so many residues, as in libraries (mzPAF): `y3-H2O^2`."""
        loss, charge = f"-{self.loss}" if self.loss else "", f"^{self.charge}" if self.charge > 1 else ""
        return f"{self.series}{number}{loss}{charge}"


def channels_of(names: Sequence[str]) -> list[Channel]:
    """The channels of names such as `b1`, `y2` and `y1-H3PO4`, in the same order."""
    channels = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or (match[3] or "") not in ("", *LOSSES):
            known = ", ".join(LOSSES)
            raise ConfigError(f"channels: {name!r} is not a channel; write b1, y2 or y1-H3PO4; losses are {known}")
        channels.append(Channel(match[1], int(match[2]), match[3] or ""))
    if len(set(channels)) != len(names) or not names:
        raise ConfigError(f"channels={list(names)}: name one or more, each once")
    return channels


def possible(peptide: Peptide, charge: int, channels: Sequence[Channel]) -> np.ndarray:
    """(n, K) bool: whether a peptide of this charge can form the fragment.

    The fragment's charge is at most that of the peptide, and it contains a residue or phosphate that allows the loss.
    """
    length = len(peptide.letters)
    out = np.ones((length - 1, len(channels)), bool)
    for column, channel in enumerate(channels):
        out[:, column] = channel.charge <= charge
        if channel.loss:
            holds = np.zeros(length, bool)
            if channel.loss == "H3PO4":
                holds[[position - 1 for position in phosphates(peptide) if 1 <= position <= length]] = True
            else:
                holds[[letter in LOSSES[channel.loss] for letter in peptide.letters]] = True
            seen = np.logical_or.accumulate(holds if channel.series == "b" else holds[::-1])[:-1]
            out[:, column] &= seen if channel.series == "b" else seen[::-1]
    return out


def phosphates(peptide: Peptide) -> list[int]:
    """Positions of phosphates, which are lost as phosphoric acid."""
    phosphate = {"P": 1, "O": 3}.items()
    return [position for position, added in peptide.modifications if phosphate <= dict(added.composition).items()]
