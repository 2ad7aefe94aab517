"""Which fragments a peptide can give."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.errors import ConfigError
from trimer.peptides.channels import channels_of, possible
from trimer.peptides.proforma import read_proforma


def can(text: str, charge: int, *names: str) -> np.ndarray:
    return possible(read_proforma(text), charge, channels_of(names))


def test_a_fragment_has_no_more_charges_than_its_peptide():
    assert can("PEPTIDEK", 1, "b1", "y2").tolist() == [[True, False]] * 7
    assert can("PEPTIDEK", 2, "b1", "y2").all()


def test_only_phosphorylated_fragments_lose_phosphoric_acid():
    allowed = can("AAS[UNIMOD:21]AAK", 2, "b1-H3PO4", "y1-H3PO4")
    assert allowed[:, 0].tolist() == [False, False, True, True, True]  # b3, b4, b5
    assert allowed[:, 1].tolist() == [True, True, False, False, False]  # y5, y4
    assert not can("AASAAK", 2, "b1-H3PO4", "y1-H3PO4").any()


def test_only_fragments_with_matching_residues_lose_water_or_ammonia():
    allowed = can("AASAAK", 2, "b1-H2O", "y1-NH3")
    assert allowed[:, 0].tolist() == [False, False, True, True, True] and allowed[:, 1].all()


@pytest.mark.parametrize("names", [["c1"], ["b0"], ["y1-CO2"], ["b1", "b1"], []])
def test_invalid_channel_names_are_rejected(names):
    with pytest.raises(ConfigError, match="channels"):
        channels_of(names)


def test_a_fragment_is_named_and_counted_from_its_terminus():
    b, y = channels_of(["b1", "y2-H3PO4"])
    assert [b.number(site, 4) for site in range(4)] == [1, 2, 3, 4]
    assert [y.number(site, 4) for site in range(4)] == [4, 3, 2, 1]
    assert (b.ion(3), y.ion(12)) == ("b3", "y12-H3PO4^2")
