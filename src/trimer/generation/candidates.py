"""From generated texts to ranked molecules: decoded, what is no molecule dropped and counted, one candidate a molecule.

What is a molecule says `trimer.chemistry.molecule_definition`. Three rankings:
- frequency: how often a molecule was generated, then how likely its best text is;
- likelihood: the log-likelihood of its best text (for beams: their score);
- consensus: first the molecule with the highest mean Tanimoto similarity to all that were generated, then the one that
  brings most of them nearer to one of the candidates so far, and so on. If the samples follow the posterior,
  the first is the answer of highest expected similarity (minimum Bayes risk), and the first k are close to the k with
  the highest expected best similarity: greedy choice is within 1 - 1/e of the optimum (Nemhauser et al. 1978).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rdkit.DataStructs import BulkTanimotoSimilarity

from trimer.chemistry.molecule_definition import UNREADABLE
from trimer.errors import ConfigError
from trimer.generation.cache import Hypothesis
from trimer.metrics.molecule_properties import MoleculeFacts, flaw, molecule_facts, precursor_ppm

RANKS = ("frequency", "likelihood", "consensus")


@dataclass(frozen=True)
class Candidate:
    """A molecule that was generated for a spectrum.

    smiles: canonical. formula: in Hill order, with the charge. neutral_mass: monoisotopic mass in Da; of a charged
    molecule the mass of that ion. ppm_error: 1e6 (m/z of its ion - measured m/z) / measured m/z, None where adduct or
    precursor m/z are not known. count: how many of the generated texts are this molecule. log_likelihood: of its most
    likely text. score: mean Tanimoto similarity (Morgan, radius 2, 2048 bits) to all molecules that were generated for
    the spectrum, itself included, each as often as it was generated. It lies in 0 to 1 and means the same for every
    method and ranking; 1 is: nothing else was generated. It need not fall from rank to rank.
    """

    smiles: str
    formula: str
    neutral_mass: float
    ppm_error: float | None
    count: int
    log_likelihood: float
    score: float


@dataclass(frozen=True)
class Ranked:
    """Candidates, best first, and how many texts were no molecule, by what was wrong with them."""

    candidates: list[Candidate]
    flaws: Counter[str]


def rank_candidates(
    hypotheses: Sequence[Hypothesis],
    decode: Callable[[Sequence[int]], str | None],
    rank: str = "frequency",
    precursor_mz: float | None = None,
    adduct: str | None = None,
    tolerance_ppm: float | None = None,
) -> Ranked:
    """Decode what was generated for one spectrum, and rank the distinct molecules.

    decode: token ids -> canonical SMILES, or None for unreadable text. precursor_mz, adduct: as measured; with
    tolerance_ppm, molecules that agree with them come first. The true formula is never used.
    """
    if rank not in RANKS:
        raise ConfigError(f"generator.rank={rank} is not one of {', '.join(RANKS)}")
    texts: dict[str, list[Hypothesis]] = {}
    decoded: dict[tuple[int, ...], tuple[str | None, str | None]] = {}  # the same text is often generated many times
    flaws: Counter[str] = Counter()
    for hypothesis in hypotheses:
        tokens = tuple(hypothesis.tokens)
        if tokens not in decoded:
            smiles = decode(hypothesis.tokens)
            decoded[tokens] = smiles, UNREADABLE if smiles is None else flaw(smiles, adduct)
        smiles, wrong = decoded[tokens]
        if wrong is None:
            texts.setdefault(smiles, []).append(hypothesis)
        else:
            flaws[wrong] += 1

    facts = {smiles: molecule_facts(smiles) for smiles in texts}
    counts = {smiles: len(own) for smiles, own in texts.items()}
    best = {smiles: max(h.log_likelihood for h in own) for smiles, own in texts.items()}
    likelihood = {smiles: max(_score(h) for h in own) for smiles, own in texts.items()}
    errors = {smiles: precursor_ppm(found, precursor_mz, adduct) for smiles, found in facts.items()}
    scores, gains = _similarities(facts, likelihood, counts, greedy=rank == "consensus")
    ranking = {"frequency": counts, "likelihood": likelihood, "consensus": gains}[rank]

    def order(smiles: str) -> tuple:
        """Mass first, then the ranking, then likelihood; the text itself makes ties the same everywhere."""
        fits = tolerance_ppm is not None and agrees(errors[smiles], tolerance_ppm)
        return (not fits, -ranking[smiles], -likelihood[smiles], smiles)

    candidates = [
        Candidate(s, facts[s].formula, facts[s].mass, errors[s], counts[s], best[s], scores[s])
        for s in sorted(texts, key=order)
    ]
    return Ranked(candidates, flaws)


def agrees(ppm_error: float | None, tolerance_ppm: float) -> bool | None:
    """Whether a candidate's ion lies within the tolerance of the precursor; None where that cannot be known."""
    return None if ppm_error is None else abs(ppm_error) <= tolerance_ppm


def _score(hypothesis: Hypothesis) -> float:
    return hypothesis.log_likelihood if math.isnan(hypothesis.score) else hypothesis.score


def _similarities(
    facts: dict[str, MoleculeFacts], likelihood: dict[str, float], counts: dict[str, int], greedy: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Of each molecule: the mean similarity to all texts, and what it adds when molecules are chosen greedily.

    The gain is what a choice adds to the mean, over the texts, of the best similarity to a chosen molecule; it never
    rises from one choice to the next. It is computed where `greedy` asks for it.
    """
    names = sorted(facts, key=lambda smiles: (-likelihood[smiles], smiles))
    fingerprints = [facts[smiles].fingerprint for smiles in names]
    weights = np.array([counts[smiles] for smiles in names], dtype=np.float64) / max(1, sum(counts.values()))
    similarity = np.array([BulkTanimotoSimilarity(fingerprint, fingerprints) for fingerprint in fingerprints])
    scores = {smiles: min(1.0, float(row @ weights)) for smiles, row in zip(names, similarity, strict=True)}
    gains = dict.fromkeys(names, 0.0)
    covered, left = np.zeros(len(names)), np.arange(len(names) if greedy else 0)
    while len(left):
        gain = np.maximum(similarity[left] - covered, 0.0) @ weights
        chosen = left[gain.argmax()]
        gains[names[chosen]] = float(gain.max())
        covered = np.maximum(covered, similarity[chosen])
        left = left[left != chosen]
    return scores, gains
