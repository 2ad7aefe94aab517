"""A model on the example spectra, beside stored candidates of the look-ups, which search the whole training fold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.data.core.training_keys import text_keys
from trimer.data.modules.denoising import molecules_of_spectra
from trimer.data.spectra.cleaning import clean_rows
from trimer.data.spectra.readers import read_spectra
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.molecule_evaluation import compared_metrics, measure, predictions
from trimer.evaluation.training_overlap import training_overlap
from trimer.examples import FOLDER, LOOKUPS, example
from trimer.metrics.intervals import Measured
from trimer.reporting.table import DIFFERENCE, ERROR, ResultTable

if TYPE_CHECKING:
    from trimer.prediction.molecule_predictor import MoleculePredictor

METRICS = ("top1_accuracy", "tanimoto@1", "tanimoto@10", "formula_match@1")  # columns of the table
LEAD = "tanimoto@1"  # the metric in which the model is compared with the best look-up
OPTIONS: dict[str, Any] = {"k": [1, 5, 10], "bootstrap": 200}


@dataclass
class ExampleEvaluation:
    """The table of methods by metrics, a prediction for each usable spectrum, and the lead over the best look-up.

    similarities: per method, Tanimoto similarity of the first candidate to the true molecule. best: name of the best
    look-up in that; lead, error: mean paired difference to it, and its standard error. overlap: how many molecules the
    model was trained on, in words.
    """

    table: ResultTable
    predictions: list[dict]
    similarities: dict[str, list[float]]
    best: str
    lead: float
    error: float
    overlap: Sequence[str] = ()

    @property
    def is_clear(self) -> bool:
        """Whether the lead is larger than its standard error."""
        return abs(self.lead) > self.error

    def sentence(self) -> str:
        """The lead over the best look-up, in words."""
        ahead = "ahead of" if self.lead >= 0 else "behind"
        text = (
            f"On these {len(self.predictions)} spectra the model is {abs(self.lead):.3f} {ahead} the best look-up "
            f"({self.best}) in Tanimoto@1; the standard error of this difference is {self.error:.3f}"
        )
        return text + ("." if self.is_clear else ": the sample is too small to rank them. See the whole test fold.")


def evaluate_examples(predictor: MoleculePredictor, name: str, count: int | None = None) -> ExampleEvaluation:
    """Generate molecules for the first `count` example spectra, and measure them and the stored look-ups.

    name: of the model in the table.
    """
    spectra = read_spectra(example("spectra"))
    table, _, _ = clean_rows(spectra.take(np.arange(len(spectra))[:count]), predictor.steps)
    values, offsets = predictor.loaded.tokenizer.encode_spectra(table)
    sources = [values[start:stop] for start, stop in pairwise(offsets)]
    precursors, adducts = table["precursor_mz"].tolist(), table["adduct"].tolist()
    analogues = None if predictor.analogues is None else predictor.analogues.weights(table, sources)
    generated = predictor.generator.generate(
        predictor.net, predictor.loaded.tokenizer, sources, precursors, adducts, analogues
    )
    result = ResultTable(metrics=METRICS)
    similarities: dict[str, list[float]] = {}
    measured: dict[str, Measured] = {}
    for method, candidates in stored_lookups(list(table["id"])).items():
        ranking = measure(table, candidates, **OPTIONS)
        measured[method] = ranking.measured()
        similarities[method] = ranking.rows()[LEAD].tolist()
    ranking = measure(table, [[c.smiles for c in g.candidates] for g in generated], generated, **OPTIONS)
    of_model, scores = ranking.measured(), ranking.rows()
    # The examples are of the test fold, which shares no molecule with the training fold that was searched.
    add_methods(result, name, measured | {name: of_model}, compared_metrics(of_model, shared=False))
    rivals = {row["method"]: row["values"] for row in result.rows if row["kind"] == "baseline"}
    best = max(rivals, key=lambda method: rivals[method][LEAD])
    lead = rivals[best].get(LEAD + DIFFERENCE, of_model.values[LEAD] - rivals[best][LEAD])
    error = rivals[best].get(LEAD + DIFFERENCE + ERROR, math.inf)
    similarities = {name: scores[LEAD].tolist(), **similarities}
    records = predictions(table, generated, scores)
    return ExampleEvaluation(result, records, similarities, best, lead, error, overlap_of(predictor.loaded, table))


def overlap_of(loaded: Any, table: SpectrumTable) -> list[str]:
    """How many molecules of the spectra a model was trained on, in words."""
    keys = text_keys([smiles or original for _, smiles, original in molecules_of_spectra(table)])
    return training_overlap(loaded.training_keys, {"molecule": keys}).lines("molecules")


def stored_lookups(ids: Sequence[str]) -> dict[str, list[list[str]]]:
    """Baseline -> ranked SMILES for each of these example spectra (`trimer.examples.draw` makes them)."""
    stored: Mapping[str, Any] = json.loads((FOLDER / LOOKUPS).read_text(encoding="utf-8"))
    row_of = {name: row for row, name in enumerate(stored["ids"])}
    return {method: [candidates[row_of[name]] for name in ids] for method, candidates in stored["candidates"].items()}
