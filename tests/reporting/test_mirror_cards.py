"""Cards of predicted and measured fragments: evenly spaced, sortable, with the ions of both sides."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from trimer.peptides.fragment_ions import fragment_mz
from trimer.peptides.proforma import read_proforma
from trimer.reporting.fragment_figures import fragment_peaks
from trimer.reporting.mirror_cards import mirror_cards
from trimer.reporting.spectrum_cards import PRINTED

PEPTIDES = ["PEPTIDE", "SAMPLER", "GAK"]


def evaluation(count: int = 3) -> SimpleNamespace:
    """An evaluation of some spectra with the channels b1 and y1, whose cosine falls from the first to the last."""
    texts = [PEPTIDES[row % 3] for row in range(count)]
    sizes = [len(text) - 1 for text in texts]
    predictions = np.random.default_rng(0).uniform(0.1, 1, (sum(sizes), 2))
    labels = predictions.copy()
    labels[0, 0] = -1  # impossible
    labels[1, 1] = 0  # not measured
    cosines = np.linspace(0.9, 0.1, count)
    values = {"cos": cosines, "sa": cosines - 0.05, "pcc": cosines, "spc": cosines}
    return SimpleNamespace(
        texts=texts, ids=[f"spectrum {row}" for row in range(count)], sizes=sizes, predictions=predictions,
        labels=labels, channels=["b1", "y1"], values=values,
    )  # fmt: skip


def test_peaks_are_those_of_both_sides_with_their_ions():
    shown = evaluation()
    predicted, measured = fragment_peaks(shown, 0)
    peptide = read_proforma("PEPTIDE")
    ions = {ion: (mz, value) for mz, value, ion in predicted}
    assert set(ions) == {f"{series}{n}" for series in "by" for n in range(1, 7)} - {"b1"}, "b1 is impossible"
    assert ions["y2"] == pytest.approx((fragment_mz(peptide, "y", 2, 1), shown.predictions[4, 1]))
    assert {ion for *_, ion in predicted} - {ion for *_, ion in measured} == {"y5"}, "a peak that was not measured"
    second = {ion for *_, ion in fragment_peaks(shown, 1)[0]}
    assert second == {f"{series}{n}" for series in "by" for n in range(1, 7)}


def test_cards_are_evenly_spaced_from_the_highest_to_the_lowest_cosine():
    section = mirror_cards(evaluation(40), examples=10)
    cosines = [float(text) for text in re.findall(r'data-similarity="([\d.]+)"', section)]
    assert len(cosines) == 10 and cosines == sorted(cosines, reverse=True)
    assert (cosines[0], cosines[-1]) == (0.9, 0.1)
    assert section.count("no-print") == 10 - PRINTED
    assert "10 of 40 spectra" in section and "rank 40 of 40" in section
    assert 'data-mz="799.3600"' in section and 'data-length="7"' in section, "mass and length of PEPTIDE"


def test_an_evaluation_without_spectra_has_no_section():
    assert mirror_cards(SimpleNamespace(values={"cos": np.zeros(0)}, ids=[])) == ""
