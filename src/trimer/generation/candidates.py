"""Ranking of generated molecules: decodes texts, counts and drops invalid ones, and merges equal molecules.

`trimer.chemistry.molecule_definition` defines a valid molecule. There are three rankings:
- frequency: how often a molecule was generated, then the log-likelihood of its most likely text;
- likelihood: the log-likelihood of its most likely text (for beam search, its score);
- consensus: first the molecule with the highest mean Tanimoto similarity to all generated ones; then, one by one, the
  molecule that increases most the mean similarity of generated molecules to the closest candidate so far. If the
  samples follow the posterior, the first has the highest expected similarity (minimum Bayes risk), and the first k
  reach at least 1 - 1/e of the highest expected best similarity of any k molecules (Nemhauser et al. 1978). Analogues,
  which are molecules of similar training spectra, can be added to the samples with a weight.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rdkit.DataStructs import BulkTanimotoSimilarity

from trimer.chemistry.molecule_definition import UNREADABLE
from trimer.generation.cache import Hypothesis
from trimer.metrics.molecule_properties import MoleculeFacts, flaw, molecule_facts, precursor_ppm

RANKS = ("frequency", "likelihood", "consensus")


@dataclass(frozen=True)
class Candidate:
    """A molecule generated for a spectrum.

    smiles: canonical. formula: in Hill order, with the charge. neutral_mass: monoisotopic mass in Da; for a charged
    molecule, the mass of this ion. ppm_error: 1e6 (m/z of its ion - measured m/z) / measured m/z, None if adduct or
    precursor m/z is unknown. count: number of generated texts that are this molecule. log_likelihood: of its most
    likely text. score: mean Tanimoto similarity (Morgan, radius 2, 2048 bits) to all molecules generated for the
    spectrum, including itself, each weighted by its count, and to the analogues if there are any. It ranges from 0 to 1
    and has the same meaning for every method and ranking; 1 means that there is no other molecule. It may increase from
    one rank to the next. An analogue that was not generated has count 0 and no log_likelihood.
    """

    smiles: str
    formula: str
    neutral_mass: float
    ppm_error: float | None
    count: int
    log_likelihood: float | None
    score: float


@dataclass(frozen=True)
class Analogues:
    """Molecules of similar training spectra, for one spectrum. weights: SMILES -> weight, in all `share` of 1.

    agreeing_first: candidates that agree with the precursor before those that need not.
    """

    weights: Mapping[str, float]
    agreeing_first: int


@dataclass(frozen=True)
class Ranked:
    """Candidates, best first, and the number of invalid texts by reason."""

    candidates: list[Candidate]
    flaws: Counter[str]


def rank_candidates(
    hypotheses: Sequence[Hypothesis],
    decode: Callable[[Sequence[int]], str | None],
    rank: str = "frequency",
    precursor_mz: float | None = None,
    adduct: str | None = None,
    tolerance_ppm: float | None = None,
    analogues: Analogues | None = None,
) -> Ranked:
    """Decode the sequences generated for one spectrum and rank the distinct molecules.

    decode: token ids -> canonical SMILES, or None for unreadable text. precursor_mz, adduct: as measured; with
    tolerance_ppm, molecules that agree with them come first. The true formula is never used. analogues: for a
    consensus.
    """
    texts: dict[str, list[Hypothesis]] = {}
    decoded: dict[tuple[int, ...], tuple[str | None, str | None]] = {}  # texts are often generated many times
    flaws: Counter[str] = Counter()
    for hypothesis in hypotheses:
        tokens = tuple(hypothesis.tokens)
        if tokens not in decoded:
            smiles = decode(tokens)
            decoded[tokens] = smiles, UNREADABLE if smiles is None else flaw(smiles, adduct)
        smiles, problem = decoded[tokens]
        if problem is not None:
            flaws[problem] += 1
        elif smiles is not None:
            texts.setdefault(smiles, []).append(hypothesis)

    weights = {} if analogues is None else dict(analogues.weights)
    names = [*texts, *(smiles for smiles in weights if smiles not in texts)]
    facts = {smiles: known for smiles in names if (known := molecule_facts(smiles)) is not None}
    counts = {smiles: len(texts.get(smiles, ())) for smiles in facts}
    best = {smiles: max(h.log_likelihood for h in group) for smiles, group in texts.items()}
    likelihood = {smiles: max((_score(h) for h in texts.get(smiles, ())), default=-math.inf) for smiles in facts}
    errors = {smiles: precursor_ppm(molecule, precursor_mz, adduct) for smiles, molecule in facts.items()}
    fits = {smiles: tolerance_ppm is not None and bool(agrees(errors[smiles], tolerance_ppm)) for smiles in facts}
    share = sum(weights.get(smiles, 0.0) for smiles in facts) if texts else 1.0
    samples = max(1, sum(counts.values()))
    mass = {s: (1 - share) * counts[s] / samples + weights.get(s, 0.0) for s in facts}
    first = {smiles for smiles, fit in fits.items() if fit}
    limit = 0 if analogues is None else analogues.agreeing_first
    scores, gains, chosen = _similarities(facts, likelihood, mass, rank == "consensus", first, limit)
    rankings: dict[str, Mapping[str, float]] = {"frequency": counts, "likelihood": likelihood, "consensus": gains}
    ranking = rankings[rank]

    def order(smiles: str) -> tuple:
        """Sort by mass agreement, ranking and likelihood; SMILES make the order of ties reproducible."""
        return (not fits[smiles], -ranking[smiles], -likelihood[smiles], smiles)

    candidates = [
        Candidate(s, facts[s].formula, facts[s].mass, errors[s], counts[s], best.get(s), scores[s])
        for s in (chosen if analogues is not None and rank == "consensus" else sorted(facts, key=order))
    ]
    return Ranked(candidates, flaws)


def agrees(ppm_error: float | None, tolerance_ppm: float) -> bool | None:
    """Whether the ion of a candidate is within the tolerance of the precursor m/z; None if unknown."""
    return None if ppm_error is None else abs(ppm_error) <= tolerance_ppm


def _score(hypothesis: Hypothesis) -> float:
    return hypothesis.log_likelihood if math.isnan(hypothesis.score) else hypothesis.score


def _similarities(
    facts: dict[str, MoleculeFacts],
    likelihood: dict[str, float],
    mass: dict[str, float],
    greedy: bool,
    first: set[str],
    limit: int,
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    """Mean similarity of each molecule to all, its gain when molecules are chosen greedily, and the order of choices.

    mass: weight of each, in all 1. The gain of a choice is the increase of the mean of the highest similarity to a
    chosen molecule. The first `limit` choices are among `first`. Without `greedy`, gains are 0.
    """
    names = sorted(facts, key=lambda smiles: (-likelihood[smiles], smiles))
    fingerprints = [facts[smiles].fingerprint for smiles in names]
    weights = np.array([mass[smiles] for smiles in names], dtype=np.float64)
    similarity = np.array([BulkTanimotoSimilarity(fingerprint, fingerprints) for fingerprint in fingerprints])
    scores = {smiles: min(1.0, float(row @ weights)) for smiles, row in zip(names, similarity, strict=True)}
    gains, order = dict.fromkeys(names, 0.0), list[str]()
    covered, remaining = np.zeros(len(names)), np.arange(len(names) if greedy else 0)
    preferred = np.array([smiles in first for smiles in names], bool)
    while len(remaining):
        allowed = remaining[preferred[remaining]] if len(order) < limit else remaining
        allowed = allowed if len(allowed) else remaining
        gain = np.maximum(similarity[allowed] - covered, 0.0) @ weights
        chosen = allowed[gain.argmax()]
        gains[names[chosen]] = float(gain.max())
        order.append(names[chosen])
        covered = np.maximum(covered, similarity[chosen])
        remaining = remaining[remaining != chosen]
    return scores, gains, order
