"""Fingerprints predicted from spectra, and their part in the look-up of analogues."""

import numpy as np
import pytest
import torch

from trimer.baselines.analogue_lookup import PREDICTED, AnalogueLibrary
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import CheckpointError
from trimer.flat import Flat
from trimer.metrics.packed_fingerprints import bits_of, expected_similarity
from trimer.models.bart import Bart
from trimer.prediction.analogue_search import AnalogueSearch, FingerprintRegression, mean_states

SMILES = ["CCCCO", "OC(=O)CCCCC", "c1ccccc1"]


def fitted() -> tuple[FingerprintRegression, torch.Tensor]:
    """A regression of 60 states around one center per molecule, and the centers."""
    draws = torch.Generator().manual_seed(0)
    centers = torch.randn(3, 6, generator=draws)
    molecule = np.repeat([0, 1, 2], [40, 10, 10])
    states = centers[molecule] + 0.01 * torch.randn(60, 6, generator=draws)
    return FingerprintRegression.fit(states, molecule, SMILES), centers


def test_the_fingerprint_of_the_molecule_is_nearest_to_the_prediction():
    regression, centers = fitted()
    bits = bits_of(SMILES)
    for number, expected in enumerate(regression.predict(centers)):
        assert expected.min() >= 0 and expected.max() <= 1
        similarities = expected_similarity(expected, bits)
        assert similarities.argmax() == number


def test_predictions_and_trainings_in_bf16_have_fingerprints_in_full_precision():
    regression, centers = fitted()
    with torch.autocast("cpu", torch.bfloat16):
        again, predicted = fitted()[0], regression.predict(centers)
    assert predicted.dtype == np.float32 and (predicted == regression.predict(centers)).all()
    assert torch.equal(again.weights, regression.weights)


def test_a_fingerprint_is_as_similar_to_bits_as_tanimoto_says():
    bits = bits_of(SMILES)
    common, either = (bits[0] & bits[1]).sum(), (bits[0] | bits[1]).sum()
    assert expected_similarity(bits[0].astype(np.float32), bits) == pytest.approx(
        [1.0, common / either, (bits[0] & bits[2]).sum() / (bits[0] | bits[2]).sum()]
    )
    assert not bits_of(["no molecule"]).any()


def test_a_checkpoint_holds_the_regression_up_to_rounding():
    regression, centers = fitted()
    stored = regression.stored()
    assert stored["weights"].dtype == torch.int8
    again = FingerprintRegression.of_checkpoint(stored)
    assert again.predict(centers) == pytest.approx(regression.predict(centers), abs=0.02)
    assert FingerprintRegression.of_checkpoint(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"weights": torch.zeros(3, 2048, dtype=torch.int8)},
        {"scale": torch.full((2048,), torch.nan)},
        {"mean": [0.0]},
        {"deviation": torch.ones(5)},
    ],
    ids=["width", "nan", "type", "length"],
)
def test_a_malformed_regression_is_refused(change):
    with pytest.raises(CheckpointError, match="the key fingerprint_regression"):
        FingerprintRegression.of_checkpoint(fitted()[0].stored() | change)


def test_mean_states_do_not_depend_on_the_batch_and_leave_the_mode(monkeypatch):
    torch.manual_seed(0)
    net = Bart(30, d_model=16, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2).train()
    sources = [np.arange(3, 3 + length) for length in (9, 2, 5)]
    states = mean_states(net, sources)
    assert net.training
    monkeypatch.setattr("trimer.prediction.analogue_search.BATCH", 1)
    assert torch.allclose(states, mean_states(net, sources), atol=1e-6)
    with torch.inference_mode():
        assert torch.allclose(states[1], net.eval().encode(Flat.pack([sources[1]])).mean(0), atol=1e-6)


def test_the_predicted_fingerprint_counts_beside_peaks_and_losses(monkeypatch):
    columns = {"smiles": SMILES[:2], "precursor_mz": [76.0, 117.0]}
    train = SpectrumTable.build([41.0, 57.0], [1.0, 1.0], [0, 1, 2], columns)
    query = SpectrumTable.build([41.0], [1.0], [0, 1], {"smiles": [""], "precursor_mz": [200.0]})
    assert list(AnalogueLibrary(train).weights(query)[0]) == ["CCCCO"]
    expected = bits_of(SMILES[1:2]).astype(np.float32)
    monkeypatch.setattr("trimer.prediction.analogue_search.mean_states", lambda net, sources: sources)

    class Known:
        def predict(self, states):
            return states

    weights = AnalogueSearch(AnalogueLibrary(train), Known(), torch.nn.Identity()).weights(query, expected)[0]
    assert list(weights) == ["OC(=O)CCCCC", "CCCCO"]
    distance = PREDICTED * (1 - expected_similarity(expected[0], bits_of(SMILES[:1]))[0]) - 0.5  # half: shared peaks
    assert weights["OC(=O)CCCCC"] / weights["CCCCO"] == pytest.approx(np.exp(distance / 0.05), rel=1e-4)
