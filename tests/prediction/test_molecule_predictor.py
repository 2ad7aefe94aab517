"""What a spectrum costs in a batch of the server, and when its analogues are searched."""

from collections import Counter
from types import SimpleNamespace

import pytest

from trimer.api import load
from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
from trimer.prediction.molecule_predictor import TEXT_COST, MoleculePredictor

SPECTRUM = {"mz": [138.066, 110.071], "intensity": [100.0, 40.0], "adduct": "[M+H]+"}


@pytest.mark.parametrize(
    ("settings", "texts"),
    [({"num_samples": 4}, 4), ({"num_samples": 80}, 80), ({"method": "beam", "beams": 5, "num_samples": 80}, 5)],
)
def test_a_spectrum_costs_as_much_as_its_texts_whatever_its_length(settings, texts):
    predictor = SimpleNamespace(generator=MoleculeGenerator(**settings))
    short, long = ((range(length), 300.0, "[M+H]+", None) for length in (10, 400))
    cost = MoleculePredictor.cost_of
    assert cost(predictor, short) == cost(predictor, long) == texts * TEXT_COST


def test_analogues_are_searched_for_the_spectra_of_a_batch_and_not_for_each_request(monkeypatch):
    """Reading one spectrum costs little, and spectra of several requests are searched together."""
    predictor = load("spectrums").predictor(trainer="cpu", generator={"num_samples": 1})
    spectra = [{**SPECTRUM, "precursor_mz": mz} for mz in (195.0877, 181.0720)]
    searched, given = [], []
    weights = predictor.analogues.weights

    def recorded(table, sources):
        searched.append((table["precursor_mz"].tolist(), table.peak_counts.tolist(), len(sources)))
        return weights(table, sources)

    def generate(net, tokenizer, sources, precursors, adducts, analogues):
        given.append(analogues)
        return [GeneratedMolecules([], 1, 0, Counter(), None) for _ in sources]

    monkeypatch.setattr(predictor.analogues, "weights", recorded)
    monkeypatch.setattr(predictor.generator, "generate", generate)
    requests = [predictor.records([spectrum]) for spectrum in spectra]
    assert searched == []
    predictor.predict_chunk([records.inputs[0] for records in requests])
    for records in requests:
        predictor.predict_chunk([records.inputs[0]])
    assert searched[0] == ([195.0877, 181.0720], [2, 2], 2) and len(searched) == 3
    together, alone = given[0], [weights for one in given[1:] for weights in one]
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys() and len(one) > 1
        assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-5)
