"""The lead over the best look-up is reported with its error, and the look-ups are those of the whole training fold."""

from __future__ import annotations

import json

import pytest

from trimer.checkpoint import load
from trimer.cli.configs import compose
from trimer.commands.demo import predictor_of
from trimer.evaluation.example_evaluation import ExampleEvaluation, evaluate_examples, stored_lookups
from trimer.examples import FOLDER, LOOKUPS
from trimer.reporting.table import ResultTable


@pytest.mark.parametrize(("lead", "clear"), [(0.03, True), (0.01, False), (-0.01, False), (-0.05, True)])
def test_a_lead_smaller_than_its_error_is_not_clear(lead, clear):
    evaluation = ExampleEvaluation(ResultTable(), [{}] * 100, {}, "cosine look-up", lead, 0.02)
    assert evaluation.is_clear is clear
    sentence = evaluation.sentence()
    assert ("behind" if lead < 0 else "ahead of") in sentence
    assert "100 spectra" in sentence and "is 0.020" in sentence
    assert ("too small to rank" in sentence) is not clear


def test_candidates_are_those_of_the_named_spectra():
    everything = stored_lookups(list_of_ids())
    some = stored_lookups(list_of_ids()[3:5])
    assert {name: rows[3:5] for name, rows in everything.items()} == some


def test_the_model_looks_analogues_up_as_in_a_prediction():
    words = ["spectra=2", "generator.num_samples=2"]
    predictor = predictor_of(load("spectrums"), compose("demo", words))
    counts = [candidate["count"] for record in candidates_of(predictor) for candidate in record]
    assert 0 in counts  # a training molecule that no sample is
    predictor.analogues = None
    assert 0 not in [candidate["count"] for record in candidates_of(predictor) for candidate in record]


def candidates_of(predictor) -> list[list[dict]]:
    return [record["candidates"] for record in evaluate_examples(predictor, "spectrums", 2).predictions]


def list_of_ids() -> list[str]:
    return json.loads((FOLDER / LOOKUPS).read_text(encoding="utf-8"))["ids"]
