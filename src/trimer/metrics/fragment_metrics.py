"""Similarity of predicted and measured fragment intensities, for each spectrum.

Fragments that a peptide cannot give are left out; a fragment that was not observed counts as zero. For each
spectrum of n possible fragments, with p predicted and t measured:
- cos: sum pt / (|p| |t|); 0 where either is all zero;
- sa, the normalised spectral angle (Toprak et al. 2014; Prosit): 1 - 2 arccos(cos) / pi, 1 for the same direction;
- pcc: Pearson's correlation; undefined where either is flat;
- spc: Spearman's, with average ranks, the zeros among them: two random spectra that share zeros in half their
  cells have about 0.8, so compare it with the others;
- l1: mean |p - t| of intensities relative to the highest.
Shapes: S cleavage sites of all spectra, K channels, B spectra, P possible fragments of all spectra.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from trimer.metrics.intervals import Measured, with_errors

PER_SPECTRUM = ("cos", "sa", "pcc", "spc", "l1")


def per_spectrum(predicted: np.ndarray, measured: np.ndarray, sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """(B,) of each metric, NaN where it is undefined.

    predicted: (S, K), not negative. measured: (S, K) relative to the highest of the spectrum, below 0 where the
    fragment is impossible. sizes: sites of each spectrum.
    """
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    rows = [_measures(predicted[a:b], measured[a:b]) for a, b in pairwise(bounds)]
    return {name: np.array([row[number] for row in rows], float) for number, name in enumerate(PER_SPECTRUM)}


def summary(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Median and mean over the spectra for which a metric is defined; metrics without any value are left out."""
    out = {}
    for name, of_spectra in values.items():
        defined = of_spectra[~np.isnan(of_spectra)]
        if len(defined):
            out[f"{name}_median"], out[f"{name}_mean"] = float(np.median(defined)), float(defined.mean())
    return out


def measured_spectra(values: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 0) -> Measured:
    """The values of `summary` with their spread from resampled spectra, the same for all methods of one split."""
    rng = np.random.default_rng(seed)
    count = len(next(iter(values.values())))
    draws = [summary(values)]
    for _ in range(bootstrap):
        chosen = rng.integers(0, count, count)
        draws.append(summary({name: of_spectra[chosen] for name, of_spectra in values.items()}))
    return with_errors({name: np.array([draw.get(name, np.nan) for draw in draws]) for name in draws[0]})


def _measures(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, ...]:
    possible = measured >= 0
    p, t = predicted[possible].astype(float), measured[possible].astype(float)
    if not len(t):
        return (np.nan,) * len(PER_SPECTRUM)
    cos = _cosine(p, t)
    angle = 1 - 2 * np.arccos(np.clip(cos, -1, 1)) / np.pi
    pcc, spc = _correlation(p, t), _correlation(rankdata(p), rankdata(t))
    return cos, angle, pcc, spc, float(np.abs(p - t).mean())


def _cosine(p: np.ndarray, t: np.ndarray) -> float:
    scale = np.sqrt((p @ p) * (t @ t))
    return float(p @ t / scale) if scale > 0 else 0.0


def _correlation(p: np.ndarray, t: np.ndarray) -> float:
    p, t = p - p.mean(), t - t.mean()
    scale = np.sqrt((p @ p) * (t @ t))
    return float(p @ t / scale) if scale > 1e-12 else np.nan
