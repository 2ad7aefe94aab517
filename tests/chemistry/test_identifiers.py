"""Identifiers of large molecules, whose computation must not take minutes."""

from __future__ import annotations

import pytest

from trimer.chemistry.identifiers import murcko_scaffold, parse


@pytest.mark.parametrize(
    ("smiles", "scaffold"),
    [("C" * 3000, ""), ("CCO", ""), ("CCc1ccccc1", "c1ccccc1"), ("C1CCCCC1" * 200, None), (None, None)],
)
def test_scaffolds_of_small_and_large_molecules(smiles, scaffold):
    assert murcko_scaffold(parse(smiles) if smiles else None) == scaffold
