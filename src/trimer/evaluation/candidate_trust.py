"""Columns by which a candidate can be judged: calibrated probabilities, and similarity to the training molecules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.evaluation.candidate_calibration import TARGETS, CandidateProbabilities, reliability
from trimer.training_molecules import library_of

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded
    from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator

COLUMNS = ("p_molecule", "p_formula", "similarity_to_training")
WHETHER_RIGHT = {"molecule": "top1_accuracy", "formula": "formula_match@1"}  # scores of a spectrum
ADD = "with trimer evaluate ckpt=... calibrate=true"


class CandidateTrust:
    """The columns for molecules that a generator samples with a checkpoint. empty: names of empty ones -> why."""

    def __init__(self, loaded: Loaded, generator: MoleculeGenerator):
        self.empty: dict[str, str] = {}
        self.training = library_of(loaded)
        if self.training is None:
            self.empty["similarity_to_training"] = f"the checkpoint has no training molecules; add them {ADD}"
        self.probabilities = None
        if loaded.calibration is None:
            self.empty["p_molecule and p_formula"] = f"the checkpoint is not calibrated; calibrate it {ADD}"
            return
        probabilities = CandidateProbabilities(loaded.calibration, str(loaded.path))
        if changed := probabilities.differences(generator):
            self.empty["p_molecule and p_formula"] = (
                f"the calibration does not hold for {', '.join(changed)}; leave these out, or calibrate the checkpoint "
                f"for them {ADD} and the same settings"
            )
        else:
            self.probabilities = probabilities

    def columns(self, generated: GeneratedMolecules, ranks: Iterable[int] | None = None) -> dict[int, dict[str, Any]]:
        """Rank -> the columns of that candidate; by default of all candidates."""
        candidates = generated.candidates
        chances: Sequence[tuple[float | None, float | None]] = [(None, None)] * len(candidates)
        if self.probabilities is not None and candidates:
            chances = self.probabilities(generated, self.training)
        columns = {}
        for rank in range(1, len(candidates) + 1) if ranks is None else ranks:
            smiles = candidates[rank - 1].smiles
            similarity = None if self.training is None else self.training.similarity(smiles)
            columns[rank] = dict(zip(COLUMNS, (*chances[rank - 1], similarity), strict=True))
        return columns


def reliability_metrics(predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Calibration error and Brier score of the first candidates of evaluated spectra, such as `p_molecule_ece`.

    predictions: of `trimer.evaluation.molecule_evaluation`. Empty without calibrated probabilities.
    """
    first = [(record["candidates"][0], record["scores"]) for record in predictions if record["candidates"]]
    metrics: dict[str, float] = {}
    for name in TARGETS:
        known = [
            (candidate[f"p_{name}"], scores[WHETHER_RIGHT[name]] == 1)
            for candidate, scores in first
            if candidate.get(f"p_{name}") is not None
        ]
        if known:
            probabilities, right = (np.array(values) for values in zip(*known, strict=True))
            measured = reliability([probabilities], [right])
            metrics |= {f"p_{name}_{metric}": float(measured[metric]) for metric in ("ece", "brier")}
    return metrics
