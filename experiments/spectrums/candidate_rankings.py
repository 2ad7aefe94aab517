"""The candidates of a model on validation spectra, and other rankings of the first one.

Run from the root of the checkout, with the folder of the data in TRIMER_DATA:

    python experiments/spectrums/candidate_rankings.py --each 2
    python experiments/spectrums/candidate_rankings.py --ckpt runs/<run> --samples 32 --lookup 0 --weights

Printed are the metrics of the candidates as `trimer predict` ranks them, on random spectra of each validation molecule,
the same ones for all models of the same data. Then the first candidate is chosen anew, by its score of the consensus
plus a weighted value: the cosine of the spectrum and the one that the rule of the simulated source predicts for the
candidate, or its similarity to the fingerprint that the model predicts. Differences are paired, ± their standard error
over molecules.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from trimer import build, compose
from trimer.checkpoint import load
from trimer.chemistry.identifiers import parse
from trimer.commands.evaluate import evaluated_data
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.evaluation.molecule_evaluation import measure
from trimer.generation.candidates import Candidate, agrees
from trimer.generation.molecule_generator import GeneratedMolecules
from trimer.metrics.candidate_metrics import resampled
from trimer.metrics.intervals import ERROR
from trimer.metrics.packed_fingerprints import bits_of, expected_similarity
from trimer.prediction.analogue_search import mean_states
from trimer.simulate.fragmentation import skeleton
from trimer.simulate.ions import energy_setting, log_energy, predict_ions

SHOWN = ("tanimoto@1", "tanimoto@10", "top1_accuracy", "top10_accuracy", "formula_match@1", "formula_match@10")
TOLERANCE = 15e-6  # of a peak's m/z, at least LEAST
LEAST = 0.004  # Th
PRECURSOR = 0.5  # Th; peaks nearer to the precursor, or above it, are left out
Value = Callable[[int, Candidate], float]  # of a candidate of a spectrum


def drawn(rows: np.ndarray, molecules: np.ndarray, each: int, seed: int) -> np.ndarray:
    """Rows of at most `each` random spectra of each molecule, ascending. molecules: of all rows of the store."""
    taken: dict[str, int] = {}
    chosen = []
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        taken[molecules[row]] = taken.get(molecules[row], 0) + 1
        if taken[molecules[row]] <= each:
            chosen.append(row)
    return np.sort(chosen)


def predicted_cosine(table: SpectrumTable, row: int, smiles: str) -> float:
    """Cosine of square-root intensities below the precursor; 0 for a molecule too small to fragment."""
    ions = predict_ions(skeleton(parse(smiles)), table["adduct"][row])
    if not len(ions.mz):
        return 0.0
    setting = energy_setting(table["collision_energy"][row], table["instrument_type"][row])
    precursor = float(table["precursor_mz"][row])
    intensities = ions.intensities(0.0 if setting is None else log_energy(*setting, precursor))
    mz, measured = (np.asarray(values, float) for values in table.peaks(row))
    below, expected_below = mz < precursor - PRECURSOR, ions.mz < precursor - PRECURSOR
    mz, measured = mz[below], measured[below]
    window = np.maximum(mz * TOLERANCE, LEAST)
    cumulated = np.concatenate([[0.0], np.cumsum(intensities)])
    first, last = np.searchsorted(ions.mz, mz - window), np.searchsorted(ions.mz, mz + window)
    common = np.sqrt(measured * (cumulated[last] - cumulated[first])).sum()
    norm = measured.sum() * intensities[expected_below].sum()
    return float(common / np.sqrt(norm)) if norm > 0 else 0.0


def firsts(
    generated: Sequence[GeneratedMolecules],
    tolerance_ppm: float | None,
    weight: float = 0.0,
    value: Value | None = None,
) -> list[list[str]]:
    """The first candidate of each spectrum, among those that agree with the precursor if there are any."""
    chosen = []
    for index, result in enumerate(generated):
        agreeing = [c for c in result.candidates if tolerance_ppm and agrees(c.ppm_error, tolerance_ppm)]
        pool = agreeing or result.candidates
        scores = [c.score + (weight * value(index, c) if value else 0.0) for c in pool]
        chosen.append([pool[int(np.argmax(scores))].smiles] if pool else [])
    return chosen


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--ckpt", default="spectrums", help="shipped model, checkpoint or run folder")
    parser.add_argument("--each", type=int, default=1, help="spectra of each molecule")
    parser.add_argument("--samples", type=int, help="samples per spectrum; default: those of the model")
    parser.add_argument("--lookup", type=float, help="share of the look-up; default: that of the model")
    parser.add_argument("--weights", type=float, nargs="*", default=[0.1, 0.2, 0.5], help="of the values")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn spectra")
    parser.add_argument("--overrides", nargs="*", default=[], help="of the config, such as paths.cache=<folder>")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    cfg = compose("evaluate", [f"ckpt={arguments.ckpt}", *arguments.overrides])
    cfg.generator.update(
        {k: v for k, v in (("num_samples", arguments.samples), ("lookup", arguments.lookup)) if v is not None}
    )
    loaded = load(arguments.ckpt)
    data: Any = build(evaluated_data(cfg, loaded.contract))
    data.setup()
    molecules = np.array(data.store.strings("inchikey1"), object)
    rows = drawn(data.split.rows("val"), molecules, arguments.each, arguments.seed)
    table, sources = data.table(rows), [data.store.ragged("source")[row] for row in rows]
    generator = loaded.study.generator(cfg)
    search = loaded.study.analogues(generator, data.table(data.split.rows("train")))
    analogues = None if search is None else search.weights(table, sources)
    generated = generator.generate(
        loaded.net, loaded.tokenizer, sources, table["precursor_mz"].tolist(), table["adduct"].tolist(), analogues
    )
    measured = measure(
        table, [[c.smiles for c in result.candidates][:10] for result in generated], k=(1, 10), bootstrap=1000
    ).measured()
    valid = sum(result.valid for result in generated) / sum(result.generated for result in generated)
    print(f"{len(rows)} spectra of {len(set(molecules[rows]))} molecules, {100 * valid:.1f} % of the samples valid")
    for name in SHOWN:
        print(f"  {name} {measured.values[name]:.4f} ± {measured.values[name + ERROR]:.4f}")

    values: dict[str, Value] = {"predicted spectrum": lambda i, c: predicted_cosine(table, i, c.smiles)}
    if search is not None and search.regression is not None:
        expected = search.regression.predict(mean_states(loaded.net, sources))
        values["predicted fingerprint"] = lambda i, c: float(expected_similarity(expected[i], bits_of([c.smiles]))[0])
    before = _scores(table, firsts(generated, generator.tolerance_ppm))
    for name, computed in values.items():
        value = functools.cache(computed)
        for weight in arguments.weights:
            change = _scores(table, firsts(generated, generator.tolerance_ppm, weight, value)) - before
            errors = resampled(change, molecules[rows].astype(str)).std(0, ddof=1)
            pairs = zip(("tanimoto@1", "formula_match@1"), change.mean(0), errors, strict=True)
            print(f"{weight:g} x {name}: " + ", ".join(f"{m} {d:+.4f} ± {e:.4f}" for m, d, e in pairs))


def _scores(table: SpectrumTable, candidates: list[list[str]]) -> np.ndarray:
    """(n, 2) Tanimoto similarity and equal formula of the first candidates."""
    rows = measure(table, candidates, k=(1,)).rows()
    return np.stack([np.asarray(rows[name], float) for name in ("tanimoto@1", "formula_match@1")], 1)


if __name__ == "__main__":
    main()
