"""How alike predicted and measured fragment intensities are, spectrum by spectrum.

Fragments that a peptide cannot give are left out everywhere; one that was not found is a zero and counts. For each
spectrum of n possible fragments, with p predicted and t measured:
- cos: sum pt / (|p| |t|); 0 where either is all zero;
- sa, the normalised spectral angle (Toprak et al. 2014; Prosit): 1 - 2 arccos(cos) / pi, 1 for the same direction;
- pcc: Pearson's correlation; undefined where either is flat;
- spc: Spearman's, with average ranks, the zeros among them: two random spectra that share half their cells as zeros
  have about 0.8, so it is read beside the others;
- l1: mean |p - t| of intensities relative to the highest.
Shapes: S cleavage sites of all spectra, K channels, B spectra, P possible fragments of all spectra.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

PER_SPECTRUM = ("cos", "sa", "pcc", "spc", "l1")


def per_spectrum(predicted: np.ndarray, measured: np.ndarray, sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """(B,) of each metric, NaN where it is undefined.

    predicted: (S, K), not negative. measured: (S, K) relative to the highest of the spectrum, below 0 where the
    fragment cannot be. sizes: sites of each spectrum.
    """
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    rows = [_measures(predicted[a:b], measured[a:b]) for a, b in pairwise(bounds)]
    return {name: np.array([row[place] for row in rows], float) for place, name in enumerate(PER_SPECTRUM)}


def summary(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Median and mean over the spectra for which a metric is defined; what none has is left out."""
    out = {}
    for name, found in values.items():
        found = found[~np.isnan(found)]
        if len(found):
            out[f"{name}_median"], out[f"{name}_mean"] = float(np.median(found)), float(found.mean())
    return out


def resampled_errors(values: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 0) -> dict[str, float]:
    """Standard errors of what `summary` gives, over resampled spectra, as `<name>_std_error`."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[float]] = {}
    count = len(next(iter(values.values())))
    for _ in range(bootstrap):
        chosen = rng.integers(0, count, count)
        for name, value in summary({name: found[chosen] for name, found in values.items()}).items():
            out.setdefault(f"{name}_std_error", []).append(value)
    return {name: float(np.std(found)) for name, found in out.items()}


def _measures(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, ...]:
    can = measured >= 0
    p, t = predicted[can].astype(float), measured[can].astype(float)
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
