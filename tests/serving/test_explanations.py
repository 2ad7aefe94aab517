"""Explained peaks over REST: those of the pages of `trimer predict`, bounded, with a sentence for wrong input."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.reporting.prediction_cards import CardSpectrum, explained_share
from trimer.simulate.peak_annotation import explain_peaks

# Paracetamol, [M+H]+: the whole ion, the loss of ketene, and a peak that no fragment has.
REQUEST = {
    "smiles": "CC(=O)Nc1ccc(O)cc1", "adduct": "[M+H]+", "precursor_mz": 152.0706,
    "mz": [65.0386, 110.06, 111.5, 152.0706], "intensity": [10, 100, 30, 50],
}  # fmt: skip


def test_peaks_are_explained_as_on_the_pages_of_predictions(client):
    answer = client.post("/v1/explain", json=REQUEST).json()
    mz, intensity = CardSpectrum(np.array(REQUEST["mz"]), np.array(REQUEST["intensity"], float)).most_intense()
    ions = explain_peaks(REQUEST["smiles"], mz, "[M+H]+", 10.0)
    share, count, peaks = explained_share(mz, intensity, ions, REQUEST["precursor_mz"])
    assert (answer["share"], answer["explained"], answer["peaks"]) == (pytest.approx(share), count, peaks)
    assert {ion["peak_mz"]: ion["formula"] for ion in answer["ions"]} == {
        float(peak): ion.formula for peak, ion in zip(mz, ions, strict=True) if ion
    }
    assert {ion["peak_mz"]: ion["formula"] for ion in answer["ions"]}[110.06] == "C6H8NO+"
    assert answer["reason"] is None
    assert client.post("/v1/explain", json=REQUEST | {"ppm": 0.001}).json()["explained"] == 0


def test_an_unknown_adduct_has_a_reason(client):
    for adduct in ("[M+", ""):
        answer = client.post("/v1/explain", json=REQUEST | {"adduct": adduct}).json()
        assert answer["ions"] == [] and "adduct is unknown" in answer["reason"]


@pytest.mark.parametrize(
    "change",
    [
        {"smiles": None}, {"smiles": "C("}, {"smiles": "C" * 121}, {"adduct": 1}, {"mz": []}, {"mz": [1, 2]},
        {"mz": "110"}, {"intensity": [-1, 1, 1, 1]}, {"intensity": [True, 1, 1, 1]}, {"ppm": 0}, {"ppm": 1e9},
        {"precursor_mz": "152"}, {"mz": [1.0] * 20_001},
    ],
)  # fmt: skip
def test_wrong_input_gets_a_sentence(client, change):
    response = client.post("/v1/explain", json=REQUEST | change)
    assert response.status_code == 422
    assert len(response.json()["error"]["message"]) > 20
