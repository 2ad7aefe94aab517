"""Look-up of training spectra of similar molecules, by shared peaks and shared neutral losses.

The spectrum of an analogue shares the peaks of common fragments and, where the molecules differ elsewhere, the losses
from the precursor. The score is the mean of two cosines of square-root intensities in bins of 0.02 Th: of m/z, and of
precursor m/z minus m/z (Bittremieux et al. 2022 compare such scores).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from trimer.baselines.spectrum_baselines import binned_cosines, distinct_molecules, top
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.metrics.packed_fingerprints import bits_of, expected_similarity

SMALLEST_LOSS = 0.5  # Th; what is nearer to the precursor is the precursor
MOST = 40  # molecules
TEMPERATURE = 0.05  # of the scores; chosen on validation spectra, as MOST
PREDICTED = 2.0  # weight of the similarity to a predicted fingerprint beside the mean cosine; chosen on them, too


def losses(table: SpectrumTable) -> SpectrumTable:
    """The spectra with neutral losses in place of m/z; peaks without one get no intensity."""
    loss = table["precursor_mz"][table.owners] - table.mz
    usable = np.isfinite(loss) & (loss >= SMALLEST_LOSS)
    intensity = np.where(usable, table.intensity, 0).astype(np.float32)
    return SpectrumTable(np.where(usable, loss, 0.0), intensity, table.offsets, table.columns)


def analogue_scores(train: SpectrumTable, test: SpectrumTable) -> Iterator[np.ndarray]:
    """The mean of both cosines, (n,) for each test spectrum, with all n training spectra."""
    pairs = zip(binned_cosines(train, test), binned_cosines(losses(train), losses(test)), strict=True)
    for peaks, neutral_losses in pairs:
        yield from (peaks + neutral_losses) / 2


class AnalogueLibrary:
    """Training spectra with molecules, in which analogues are searched."""

    def __init__(self, train: SpectrumTable):
        self.molecules = distinct_molecules(train)
        self.order = np.argsort(self.molecules.of_row, kind="stable")
        self.starts = np.searchsorted(self.molecules.of_row[self.order], np.arange(len(self.molecules.smiles)))
        self.train = train

    def ranked(self, scores: np.ndarray, k: int) -> list[tuple[str, float]]:
        """The k molecules with the highest score of any of their spectra; scores: (n,) of the spectra."""
        best = np.maximum.reduceat(scores[self.order], self.starts)
        return [(self.molecules.smiles[index], float(best[index])) for index in top(best, k)]

    def scores(self, spectra: SpectrumTable, expected: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """(n,) scores of the n training spectra, for each spectrum; expected: as for `weights`."""
        for row, scores in enumerate(analogue_scores(self.train, spectra)):
            if expected is not None:
                scores = scores + PREDICTED * expected_similarity(expected[row], self.bits)[self.molecules.of_row]
            yield scores

    def weights(self, spectra: SpectrumTable, expected: np.ndarray | None = None) -> list[dict[str, float]]:
        """SMILES -> weight of the analogues of each spectrum, the most similar first: a softmax of the scores.

        Empty if no peak and no loss is shared. expected: (n, 2048) fingerprints predicted from the spectra, whose
        similarity to the molecules counts, too.
        """
        return [self._weighted(self.ranked(scores, MOST)) for scores in self.scores(spectra, expected)]

    @functools.cached_property
    def bits(self) -> np.ndarray:
        """(N, 2048) fingerprints of the molecules."""
        return bits_of(self.molecules.smiles)

    @staticmethod
    def _weighted(ranked: list[tuple[str, float]]) -> dict[str, float]:
        if not ranked:
            return {}
        scores = np.array([score for _, score in ranked])
        weights = np.exp((scores - scores.max()) / TEMPERATURE)
        weights /= weights.sum()
        return {smiles: float(weight) for (smiles, _), weight in zip(ranked, weights, strict=True)}
