"""The look-up of analogues by shared peaks and neutral losses."""

import numpy as np
import pytest

from trimer.baselines.analogue_lookup import AnalogueLibrary, analogue_scores, losses
from trimer.baselines.spectrum_baselines import analogue_lookup, cosine_lookup
from trimer.data.spectra.spectrum_table import SpectrumTable


def table(*spectra: tuple[str, float, list[tuple[float, float]]]) -> SpectrumTable:
    """Spectra as (SMILES, precursor m/z, peaks)."""
    peaks = [peak for *_, own in spectra for peak in own]
    offsets = np.concatenate([[0], np.cumsum([len(own) for *_, own in spectra])])
    columns = {"smiles": [smiles for smiles, *_ in spectra], "precursor_mz": [mz for _, mz, _ in spectra]}
    return SpectrumTable.build([m for m, _ in peaks], [i for _, i in peaks], offsets, columns)


# The second has the losses 18 and 46 of the query, and no peak of it; the first shares one of four peaks.
TRAIN = table(
    ("CCCCO", 76.0, [(41.0, 100.0), (57.0, 100.0), (60.0, 100.0), (29.0, 100.0)]),
    ("OC(=O)CCCCC", 117.0, [(99.0, 100.0), (71.0, 100.0)]),
    ("OC(=O)CCCCC", 117.0, [(99.0, 100.0)]),
    ("c1ccccc1", 79.0, []),
)
QUERY = table(("OC(=O)CCCC", 103.0, [(85.0, 100.0), (57.0, 100.0)]))


def test_losses_are_measured_from_the_precursor_and_need_one():
    spectra = table(("C", 100.0, [(82.0, 4.0), (99.9, 9.0), (120.0, 1.0)]), ("C", np.nan, [(50.0, 1.0)]))
    lost = losses(spectra)
    assert lost.mz.tolist() == pytest.approx([18.0, 0.0, 0.0, 0.0])
    assert lost.intensity.tolist() == [4.0, 0.0, 0.0, 0.0]


def test_shared_losses_find_the_homologue_that_shares_no_peak():
    scores = next(iter(analogue_scores(TRAIN, QUERY)))
    assert scores.tolist() == pytest.approx([0.5 / np.sqrt(8), 0.5, 0.5 / np.sqrt(2), 0.0])
    assert cosine_lookup(TRAIN, QUERY, k=1) == [["CCCCO"]]
    assert analogue_lookup(TRAIN, QUERY, k=3) == [["OC(=O)CCCCC", "CCCCO", "c1ccccc1"]]


def test_weights_are_shares_of_a_softmax_of_the_scores():
    weights = AnalogueLibrary(TRAIN).weights(QUERY)[0]
    assert list(weights) == ["OC(=O)CCCCC", "CCCCO"]
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["CCCCO"] / weights["OC(=O)CCCCC"] == pytest.approx(np.exp((0.5 / np.sqrt(8) - 0.5) / 0.05))
    assert AnalogueLibrary(TRAIN).weights(table(("C", 500.0, []))) == [{}]
