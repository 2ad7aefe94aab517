"""What a spectrum costs in a batch of the server."""

from types import SimpleNamespace

import pytest

from trimer.generation.molecule_generator import MoleculeGenerator
from trimer.prediction.molecule_predictor import TEXT_COST, MoleculePredictor


@pytest.mark.parametrize(
    ("settings", "texts"),
    [({"num_samples": 4}, 4), ({"num_samples": 80}, 80), ({"method": "beam", "beams": 5, "num_samples": 80}, 5)],
)
def test_a_spectrum_costs_as_much_as_its_texts_whatever_its_length(settings, texts):
    predictor = SimpleNamespace(generator=MoleculeGenerator(**settings))
    short, long = ((range(length), 300.0, "[M+H]+", None) for length in (10, 400))
    cost = MoleculePredictor.cost_of
    assert cost(predictor, short) == cost(predictor, long) == texts * TEXT_COST
