"""From what was written to ranked molecules: decoded, invalid ones dropped, one candidate per molecule.

Three ways to rank:
- frequency: how often a molecule was written, then how likely its best writing is;
- likelihood: the log-likelihood of its best writing (for beams: their score);
- consensus: first the molecule nearest to all that were written (mean Tanimoto similarity weighted by counts), then the
  one that brings most of them nearer to one of the candidates so far, and so on. If the samples follow the posterior,
  the first is the answer of highest expected similarity (minimum Bayes risk), and the first k are close to the k with
  the highest expected best similarity: greedy choice is within 1 - 1/e of the optimum (Nemhauser et al. 1978).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trimer.errors import ConfigError
from trimer.generation.cache import Hypothesis

RANKS = ("frequency", "likelihood", "consensus")


@dataclass(frozen=True)
class Candidate:
    """A molecule: canonical SMILES, how often it was written, log-likelihood of its best writing, what ranked it.

    score: the count, the log-likelihood or the gain in expected similarity, as the ranking says.
    """

    smiles: str
    count: int
    log_likelihood: float
    score: float


@dataclass(frozen=True)
class Ranked:
    """Candidates, best first, and how many texts were no molecule."""

    candidates: list[Candidate]
    invalid: int


def rank_candidates(
    hypotheses: Sequence[Hypothesis],
    decode: Callable[[Sequence[int]], str | None],
    rank: str = "frequency",
    precursor_mass: float | None = None,
    tolerance_ppm: float | None = None,
) -> Ranked:
    """Decode what was written for one spectrum, and rank the distinct molecules.

    decode: token ids -> canonical SMILES, or None for what is no molecule. precursor_mass: neutral monoisotopic mass in
    Da as the measured precursor says it; with tolerance_ppm, molecules that agree with it come first. The true formula
    is never used.
    """
    if rank not in RANKS:
        raise ConfigError(f"generator.rank={rank} is not one of {', '.join(RANKS)}")
    writings: dict[str, list[Hypothesis]] = {}
    decoded: dict[tuple[int, ...], str | None] = {}  # the same text is often written many times
    invalid = 0
    for hypothesis in hypotheses:
        text = tuple(hypothesis.tokens)
        if text not in decoded:
            decoded[text] = decode(hypothesis.tokens)
        if decoded[text] is None:
            invalid += 1
        else:
            writings.setdefault(decoded[text], []).append(hypothesis)

    counts = {smiles: len(of_it) for smiles, of_it in writings.items()}
    best = {smiles: max(h.log_likelihood for h in of_it) for smiles, of_it in writings.items()}
    likelihood = {smiles: max(_score(h) for h in of_it) for smiles, of_it in writings.items()}
    scores = _consensus(likelihood, counts) if rank == "consensus" else counts if rank == "frequency" else likelihood
    fits = _fits(counts, precursor_mass, tolerance_ppm)

    def order(smiles: str) -> tuple:
        """Mass first, then the ranking, then likelihood; the text itself makes ties the same everywhere."""
        return (not fits.get(smiles, False), -scores[smiles], -likelihood[smiles], smiles)

    candidates = [
        Candidate(smiles, counts[smiles], best[smiles], float(scores[smiles])) for smiles in sorted(writings, key=order)
    ]
    return Ranked(candidates, invalid)


def _score(hypothesis: Hypothesis) -> float:
    return hypothesis.log_likelihood if math.isnan(hypothesis.score) else hypothesis.score


def _fits(smiles: Sequence[str], mass: float | None, tolerance_ppm: float | None) -> dict[str, bool]:
    if mass is None or tolerance_ppm is None:
        return {}
    from trimer.metrics.facts import molecule_facts

    facts = {s: molecule_facts(s) for s in smiles}
    return {s: f is not None and abs(f.mass - mass) <= tolerance_ppm * 1e-6 * mass for s, f in facts.items()}


def _consensus(likelihood: dict[str, float], counts: dict[str, int]) -> dict[str, float]:
    """What each molecule, chosen greedily, adds to the mean over the writings of the best similarity to a chosen one.

    Tanimoto similarity of Morgan fingerprints, radius 2, 2,048 bits. Gains never rise from one choice to the next.
    """
    from rdkit.DataStructs import BulkTanimotoSimilarity

    from trimer.metrics.facts import molecule_facts

    likely_first = sorted(counts, key=lambda smiles: (-likelihood[smiles], smiles))
    facts = {smiles: molecule_facts(smiles) for smiles in likely_first}
    known = {smiles: found.fingerprint for smiles, found in facts.items() if found is not None}
    names, fingerprints = list(known), list(known.values())
    gains = dict.fromkeys(counts, 0.0)
    weights = np.array([counts[smiles] for smiles in names], dtype=np.float64) / max(1, sum(map(counts.get, names)))
    similarity = np.array([BulkTanimotoSimilarity(fingerprint, fingerprints) for fingerprint in fingerprints])
    covered, left = np.zeros(len(names)), np.arange(len(names))
    while len(left):
        gain = np.maximum(similarity[left] - covered, 0.0) @ weights
        chosen = left[gain.argmax()]
        gains[names[chosen]] = float(gain.max())
        covered = np.maximum(covered, similarity[chosen])
        left = left[left != chosen]
    return gains
