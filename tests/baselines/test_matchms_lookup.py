"""Library search with the similarity scores of matchms."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from trimer.baselines.matchms_lookup import SIMILARITIES, MatchmsLookup
from trimer.building import build
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError


def table(spectra: list[tuple[str, float, list[tuple[float, float]]]]) -> SpectrumTable:
    """Spectra as (SMILES, precursor m/z, peaks)."""
    peaks = [peak for _, _, spectrum_peaks in spectra for peak in spectrum_peaks]
    offsets = np.concatenate([[0], np.cumsum([len(spectrum_peaks) for _, _, spectrum_peaks in spectra])])
    columns = {"id": [f"s{row}" for row in range(len(spectra))], "smiles": [smiles for smiles, _, _ in spectra]}
    columns["precursor_mz"] = [mz for _, mz, _ in spectra]
    return SpectrumTable.build([m for m, _ in peaks], [i for _, i in peaks], offsets, columns)


TRAIN = table(
    [
        ("CCO", 147.0, [(29.0, 100), (31.0, 50)]),
        ("OCC", 147.1, [(29.0, 100), (45.0, 10)]),  # the same molecule, another SMILES
        ("CCCCO", 175.0, [(41.0, 100), (57.0, 80)]),
        ("c1ccccc1O", 195.0, [(77.0, 100), (95.0, 30)]),
        ("C", np.nan, [(77.0, 100), (95.0, 30)]),
        ("CC", 300.0, []),
    ]
)


@pytest.mark.parametrize("similarity", [name for name in SIMILARITIES if name != "modified_cosine"])
@pytest.mark.parametrize("candidates", [3, None])
def test_the_spectrum_with_the_same_peaks_is_found(similarity, candidates):
    test = table([("x", 194.0, [(77.01, 100), (95.01, 30)]), ("x", 174.0, [(41.0, 100)]), ("x", 176.0, [])])
    ranked = MatchmsLookup(similarity, candidates=candidates)(TRAIN, test, k=2)
    assert set(ranked[0]) == {"c1ccccc1O", "C"}
    assert ranked[1] == ["CCCCO", "c1ccccc1O"], "those with the nearest precursor follow"
    assert ranked[2] == ["CCCCO", "c1ccccc1O"], "without peaks the precursor alone decides"


def test_scores_agree_with_matchms():
    from matchms import Spectrum
    from matchms.similarity import CosineGreedy

    random = np.random.default_rng(0)
    spectra = []
    for row in range(40):
        mz = np.sort(random.choice(np.arange(50.0, 90.0), 8, replace=False))
        spectra.append(("C" * (row + 1), 100.0 + row, [(float(m), float(random.uniform(1, 100))) for m in mz]))
    train, test = table(spectra[:30]), table(spectra[30:])
    ranked = MatchmsLookup("cosine_greedy", tolerance=0.02, candidates=None)(train, test, k=1)
    score = CosineGreedy(tolerance=0.02, intensity_power=0.5)
    for row, names in enumerate(ranked):
        query = Spectrum(*(np.array(values, float) for values in test.peaks(row)))
        library = [Spectrum(*(np.array(values, float) for values in train.peaks(other))) for other in range(30)]
        scores = [float(score.pair(one, query)["score"]) for one in library]
        assert names == [train["smiles"][int(np.argmax(scores))]]


def test_the_modified_cosine_matches_peaks_that_are_shifted_by_the_precursor_difference():
    shifted = table([("x", 161.0, [(43.0, 100), (45.0, 50)])])  # ethanol's peaks and precursor, 14 Th higher
    ranked = MatchmsLookup("modified_cosine", candidates=None)(TRAIN, shifted, k=1)
    assert ranked == [["CCO"]]
    unmeasured = table([("x", np.nan, [(77.0, 100), (95.0, 30)])])
    assert MatchmsLookup("modified_cosine", candidates=None)(TRAIN, unmeasured, k=1) == [[]]


def test_the_baseline_is_built_from_a_config():
    target = "trimer.baselines.matchms_lookup.MatchmsLookup"
    lookup = build({"_target_": target, "similarity": "spectral_entropy", "candidates": 5})
    assert (lookup.similarity, lookup.candidates) == ("spectral_entropy", 5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"similarity": "dot"}, "similarity=dot must be one of cosine_greedy, cosine_hungarian"),
        ({"candidates": 0}, "candidates=0 must be 1 or more"),
        ({"tolerance": 0}, "tolerance=0 must be above 0 Th"),
    ],
)
def test_invalid_settings_raise_errors(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        MatchmsLookup(**settings)


def test_matchms_is_imported_on_first_use():
    code = "import sys; import trimer.baselines.matchms_lookup as m; m.MatchmsLookup(); print('matchms' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
