"""Look-up of the most similar training spectrum with the similarity scores of matchms.

matchms compares spectra pair by pair, so by default only the training spectra with the highest binned cosine are
compared (`trimer.baselines.spectrum_baselines`). No evaluation uses this baseline unless it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from trimer.baselines.spectrum_baselines import binned_cosines, distinct_molecules, top, with_nearest_precursors
from trimer.data.spectra.matchms_spectra import peaks_to_matchms, quiet_matchms
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError

CACHE = 100_000  # spectra of matchms kept at once
# name -> class in matchms.similarity and its arguments; intensities enter as their square roots, as in `cosine_lookup`
SIMILARITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "cosine_greedy": ("CosineGreedy", {"intensity_power": 0.5}),
    "cosine_hungarian": ("CosineHungarian", {"intensity_power": 0.5}),
    "modified_cosine": ("ModifiedCosineGreedy", {"intensity_power": 0.5}),
    "spectral_entropy": ("FlashSimilarity", {"score_type": "spectral_entropy"}),
}
NEEDS_PRECURSOR = ("modified_cosine",)


class MatchmsLookup:
    """The training molecules with the most similar spectrum, by a similarity score of matchms.

    similarity: cosine_greedy, cosine_hungarian, modified_cosine or spectral_entropy. tolerance: m/z, in Th. candidates:
    training spectra compared with each test spectrum, those with the highest binned cosine; null: all. A molecule
    scores by its best spectrum; molecules with the nearest precursor m/z follow, as in `cosine_lookup`. The modified
    cosine compares only spectra with a precursor m/z.
    """

    def __init__(self, similarity: str = "cosine_greedy", tolerance: float = 0.02, candidates: int | None = 100):
        if similarity not in SIMILARITIES:
            raise ConfigError(f"similarity={similarity} must be one of {', '.join(SIMILARITIES)}")
        if candidates is not None and candidates < 1:
            raise ConfigError(f"candidates={candidates} must be 1 or more, or null for all")
        if not tolerance > 0:
            raise ConfigError(f"tolerance={tolerance} must be above 0 Th")
        self.similarity, self.tolerance, self.candidates = similarity, tolerance, candidates

    def __call__(self, train: SpectrumTable, test: SpectrumTable, k: int = 10, seed: int = 0) -> list[list[str]]:
        """Ranked SMILES for each test spectrum, at most k."""
        molecules = distinct_molecules(train)
        score = _similarity(self.similarity, self.tolerance)
        spectrum = lru_cache(maxsize=CACHE)(lambda row: peaks_to_matchms(train, row))
        ranked = []
        with quiet_matchms():
            for row, compared in enumerate(self._compared(train, test)):
                query = peaks_to_matchms(test, row)
                best = np.zeros(len(molecules.smiles))
                for other in compared.tolist():
                    molecule = molecules.of_row[other]
                    best[molecule] = max(best[molecule], _value(score.pair(spectrum(other), query)))
                ranked.append(molecules.name(top(best, k)))
        return with_nearest_precursors(train, test, ranked, k)

    def _compared(self, train: SpectrumTable, test: SpectrumTable) -> Iterator[np.ndarray]:
        """The training spectra that each test spectrum is compared with."""
        usable = train.peak_counts > 0
        measured = np.ones(len(test), bool)
        if self.similarity in NEEDS_PRECURSOR:
            usable &= np.isfinite(train["precursor_mz"])
            measured = np.isfinite(test["precursor_mz"])
        measured &= test.peak_counts > 0
        rows = np.flatnonzero(usable)
        if self.candidates is None:
            yield from (rows if compare else rows[:0] for compare in measured)
            return
        scores = (row for block in binned_cosines(train.take(rows), test) for row in block)
        for values, compare in zip(scores, measured, strict=True):
            yield rows[top(values, self.candidates)] if compare else rows[:0]


def _similarity(name: str, tolerance: float) -> Any:
    """The similarity function of matchms, which is imported here: its import takes 3 s."""
    from matchms import similarity

    class_name, options = SIMILARITIES[name]
    return getattr(similarity, class_name)(tolerance=tolerance, **options)


def _value(score: Any) -> float:
    """The number of a score; cosines come with the number of matching peaks."""
    return float(score["score"]) if score.dtype.names else float(score)
