"""Probabilities that a candidate is the right molecule, and has the right formula, fitted on validation spectra.

Molecules are generated for a sample of the validation split. For each of the first RANKS candidates of a spectrum, a
`ProbabilityModel` predicts whether it is the right molecule (InChIKey block 1); a second one does so for each different
formula among them. Reliability is measured out of fold, with all spectra of a molecule in one fold.

Shapes: k candidates of a spectrum (at most RANKS), f different formulas among them, n candidates of all spectra.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.errors import CheckpointError
from trimer.generation.candidates import agrees
from trimer.metrics.molecule_properties import molecule_facts, same_formula, same_molecule
from trimer.metrics.probability_model import ProbabilityModel, fit, out_of_fold
from trimer.metrics.temperature import bin_of, error_of_bins

if TYPE_CHECKING:
    from trimer.data.spectra.spectrum_table import SpectrumTable
    from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
    from trimer.metrics.packed_fingerprints import PackedLibrary

log = logging.getLogger(__name__)

KEY = "calibration"  # of a checkpoint
RANKS = 20  # candidates of a spectrum that get a probability
TOLERANCE_PPM = 10.0  # of the feature `agrees`, whatever tolerance_ppm is in predictions
BINS = 10  # of the reliability table
TARGETS = ("molecule", "formula")
FEATURES = {
    "molecule": (
        "share", "formula_share", "rank", "score", "log_likelihood", "agrees", "similarity_to_training", "valid_share",
        "distinct_share",
    ),
    "formula": (
        "formula_share", "rank", "score", "log_likelihood", "agrees", "similarity_to_training", "valid_share",
        "distinct_share",
    ),
}  # fmt: skip
# Settings of a generator on which the features depend.
SETTINGS = {
    "sampling": (
        "method",
        "rank",
        "tolerance_ppm",
        "max_length",
        "num_samples",
        "temperature",
        "top_k",
        "top_p",
        "formulas",
        "formula_ppm",
        "keep_formula",
        "redraws",
        "lookup",
        "agreeing_first",
    ),
    "beam": ("method", "rank", "tolerance_ppm", "max_length", "beams", "length_penalty"),
}


@dataclass(frozen=True)
class CandidateFeatures:
    """Features of the first candidates of a spectrum. molecule: (k, F). formula: (f, F). formula_of: (k,) row in it."""

    molecule: np.ndarray
    formula: np.ndarray
    formula_of: np.ndarray


def candidate_features(generated: GeneratedMolecules, library: PackedLibrary | None) -> CandidateFeatures:
    """The features of the first RANKS candidates.

    share: log odds of the share of generated texts that are the molecule; formula_share: that have its formula. rank:
    logarithm of the rank. agrees: 1 or 0, NaN if unknown. valid_share and distinct_share: of the spectrum, valid among
    generated texts, and different molecules among valid texts. A formula has the features of its best candidate.
    """
    candidates = generated.candidates[:RANKS]
    texts = Counter[str]()
    for candidate in generated.candidates:
        texts[candidate.formula] += candidate.count
    total = generated.generated
    spectrum = generated.valid / max(total, 1), len(generated.candidates) / max(generated.valid, 1)
    rows, formulas = [], dict[str, int]()
    for rank, candidate in enumerate(candidates, 1):
        formulas.setdefault(candidate.formula, len(formulas))
        agreement = agrees(candidate.ppm_error, TOLERANCE_PPM)
        similarity = None if library is None else library.similarity(candidate.smiles)
        rows.append(
            (
                log_odds(candidate.count, total),
                log_odds(texts[candidate.formula], total),
                np.log(rank),
                candidate.score,
                candidate.log_likelihood,
                np.nan if agreement is None else float(agreement),
                np.nan if similarity is None else similarity,
                *spectrum,
            )
        )
    molecule = np.array(rows, np.float64).reshape(len(rows), len(FEATURES["molecule"]))
    formula_of = np.array([formulas[candidate.formula] for candidate in candidates], np.int64)
    best = [int(np.flatnonzero(formula_of == number)[0]) for number in range(len(formulas))]
    columns = [FEATURES["molecule"].index(name) for name in FEATURES["formula"]]
    return CandidateFeatures(molecule, molecule[best][:, columns].reshape(len(best), len(columns)), formula_of)


def log_odds(count: int, total: int) -> float:
    """Logarithm of the odds of a share, with half a text added to both sides."""
    return float(np.log((count + 0.5) / (max(total - count, 0) + 0.5)))


def coherent(molecule: np.ndarray, formula: np.ndarray, formula_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k,) probabilities of molecules and of their formulas, without contradictions.

    Only one formula and one molecule can be right: the formulas add up to at most 1, and the molecules of a formula to
    at most its probability. Larger sums are scaled down.
    """
    formula = formula / max(1.0, float(formula.sum()))
    sums = np.bincount(formula_of, weights=molecule, minlength=len(formula))
    scale = np.minimum(1.0, formula / np.maximum(sums, 1e-12))
    return molecule * scale[formula_of], formula[formula_of]


class CandidateProbabilities:
    """`p_molecule` and `p_formula` of candidates, by the calibration that a checkpoint stores.

    generator: settings by which the molecules of the validation split were generated. spectra: number of them.
    """

    def __init__(self, stored: Mapping[str, Any], where: str):
        if not isinstance(stored, Mapping) or not {*TARGETS, "generator", "spectra"} <= set(stored):
            raise CheckpointError(
                f"{where}: the stored calibration is damaged; calibrate the checkpoint again with trimer evaluate "
                "ckpt=... calibrate=true"
            )
        self.models = {name: ProbabilityModel.of_plain(stored[name], FEATURES[name], where) for name in TARGETS}
        self.generator, self.spectra = dict(stored["generator"]), int(stored["spectra"])

    def __call__(
        self, generated: GeneratedMolecules, library: PackedLibrary | None
    ) -> list[tuple[float | None, float | None]]:
        """The two probabilities of each candidate; None beyond the first RANKS."""
        features = candidate_features(generated, library)
        molecule, formula = (self.models[name](getattr(features, name)) for name in TARGETS)
        both = coherent(molecule, formula, features.formula_of)
        values = list(zip(*(part.tolist() for part in both), strict=True))
        return [*values, *[(None, None)] * (len(generated.candidates) - len(values))]

    def differences(self, generator: MoleculeGenerator) -> list[str]:
        """Settings of a generator that differ from those of the calibration, as texts."""
        now = settings_of(generator)
        if now["method"] == self.generator.get("method"):  # settings that were added since have no stored value
            now = {name: value for name, value in now.items() if name in self.generator}
        return [
            f"generator.{name}={now.get(name)} (calibrated with {self.generator.get(name)})"
            for name in {**now, **self.generator}
            if now.get(name) != self.generator.get(name)
        ]


def settings_of(generator: MoleculeGenerator) -> dict[str, Any]:
    """The settings of a generator on which the features depend."""
    return {name: getattr(generator, name) for name in SETTINGS[generator.method]}


# ---------------------------------------------------------------- fit


def calibrate_candidates(
    table: SpectrumTable,
    generated: Sequence[GeneratedMolecules],
    library: PackedLibrary | None,
    generator: MoleculeGenerator,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The calibration for the checkpoint, and the report of its reliability, both as plain values.

    table: labelled validation spectra. generated: molecules for each of them.
    """
    features = [candidate_features(result, library) for result in generated]
    right = whether_right(table["smiles"].tolist(), generated, features)
    names = np.array([key or smiles for key, smiles in zip(table["inchikey1"], table["smiles"], strict=True)], object)
    stored: dict[str, Any] = {"spectra": len(table), "generator": settings_of(generator)}
    raw: dict[str, list[np.ndarray]] = {}
    for name in TARGETS:
        counts = [len(values) for values in right[name]]
        values = np.concatenate([np.zeros((0, len(FEATURES[name]))), *(getattr(known, name) for known in features)])
        truth, groups = np.concatenate([np.zeros(0, bool), *right[name]]), np.repeat(names.astype(str), counts)
        model = fit(values, truth, groups, FEATURES[name])
        stored[name] = model.plain()
        predicted = out_of_fold(values, truth, groups, FEATURES[name])
        offsets = np.cumsum([0, *counts]).tolist()
        raw[name] = [predicted[start:stop] for start, stop in pairwise(offsets)]
    pairs = [
        coherent(molecule, formula, known.formula_of)
        for molecule, formula, known in zip(raw["molecule"], raw["formula"], features, strict=True)
    ]
    report: dict[str, Any] = {
        "spectra": len(table),
        "molecules": len(set(names.tolist())),
        "generator": stored["generator"],
    }
    of_formulas = [truth[known.formula_of] for truth, known in zip(right["formula"], features, strict=True)]
    for number, (name, truths) in enumerate((("molecule", right["molecule"]), ("formula", of_formulas))):
        weights = stored[name]["weights"]
        report[name] = {
            "features": dict(zip(FEATURES[name], weights, strict=True)) if any(weights) else {},
            "first_candidates": reliability([pair[number][:1] for pair in pairs], [truth[:1] for truth in truths]),
            "all_candidates": reliability([pair[number] for pair in pairs], truths),
        }
    return stored, report


def whether_right(
    smiles: Sequence[str], generated: Sequence[GeneratedMolecules], features: Sequence[CandidateFeatures]
) -> dict[str, list[np.ndarray]]:
    """For each spectrum, whether its first candidates are the true molecule, (k,), and its formulas the true one, (f,).

    smiles: the true molecules.
    """
    right: dict[str, list[np.ndarray]] = {name: [] for name in TARGETS}
    for text, result, known in zip(smiles, generated, features, strict=True):
        true = molecule_facts(text)
        facts = [molecule_facts(candidate.smiles) for candidate in result.candidates[:RANKS]]
        right["molecule"].append(np.array([same_molecule(predicted, true) for predicted in facts], bool))
        formula = np.zeros(len(known.formula), bool)
        formula[known.formula_of] = [same_formula(predicted, true) for predicted in facts]
        right["formula"].append(formula)
    return right


def reliability(predicted: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> dict[str, Any]:
    """How reliable probabilities are: counts, calibration error, Brier score, and a row for each bin that is filled.

    brier_of_constant: the Brier score of the fraction that is right, which every useful probability is below.
    """
    p = np.concatenate([np.zeros(0), *predicted])
    truth = np.concatenate([np.zeros(0, bool), *right])
    bins, rate = bin_of(p, BINS), float(truth.mean()) if len(truth) else float("nan")
    rows = [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "candidates": int(inside.sum()),
            "mean_probability": float(p[inside].mean()),
            "right": float(truth[inside].mean()),
        }
        for number in range(BINS)
        if (inside := bins == number).any()
    ]
    return {
        "candidates": len(truth),
        "right": int(truth.sum()),
        "ece": error_of_bins(p, truth.astype(float), BINS) if len(truth) else None,
        "brier": float(((p - truth) ** 2).mean()) if len(truth) else None,
        "brier_of_constant": rate * (1 - rate) if len(truth) else None,
        "bins": rows,
    }


def metrics_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a report for the results of a run, such as `val/p_molecule_ece`, of the first candidates."""
    return {
        f"val/p_{name}_{metric}": float(value)
        for name in TARGETS
        for metric in ("ece", "brier")
        if (value := report[name]["first_candidates"][metric]) is not None
    }


def save_report(report: Mapping[str, Any], path: Path) -> None:
    """Write a report as JSON, and log it in a sentence for each probability."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name in TARGETS:
        first = report[name]["first_candidates"]
        if not first["candidates"]:
            log.warning("p_%s is not calibrated: no molecule was generated for the validation spectra", name)
            continue
        log.info(
            "p_%s of the first candidates of %s validation spectra, out of fold: %s right, ECE %.3f, Brier %.4f "
            "(a constant: %.4f)",
            name,
            f"{report['spectra']:,}",
            f"{first['right']:,}",
            first["ece"],
            first["brier"],
            first["brier_of_constant"],
        )
        if not report[name]["features"]:
            log.warning(
                "p_%s is the same for all candidates: too few of the validation candidates are right to learn more",
                name,
            )
