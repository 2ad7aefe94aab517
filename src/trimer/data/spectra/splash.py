"""SPLASH: an identifier of a spectrum, computed from its peaks (Wohlgemuth et al., Nat. Biotechnol. 34, 1099, 2016).

Spectra with the same SPLASH are identical, whatever library they come from. It consists of a version block, two
histograms, and a hash of the peak list; specification: https://github.com/berlinguyinca/spectra-hash.
"""

from __future__ import annotations

import hashlib

import numpy as np

_NUDGE = 1e-7  # added before truncation to integers, as the specification states, so that 99.999999 becomes 100
_BASE3, _BASE36 = "012", "0123456789abcdefghijklmnopqrstuvwxyz"


def splash(mz: np.ndarray, intensity: np.ndarray) -> str | None:
    """The SPLASH of one spectrum (version 10, mass spectra); None for a spectrum without a positive intensity.

    mz: (p,) Th. intensity: (p,) in any unit; only the ratio to the base peak counts.
    """
    mz, intensity = np.asarray(mz, np.float64), np.asarray(intensity, np.float64)
    if not len(mz) or not intensity.max() > 0:
        return None
    relative = intensity / intensity.max() * 100.0
    return f"splash10-{_prefilter(mz, relative)}-{_histogram(mz, relative)}-{_hash(mz, relative)}"


def _hash(mz: np.ndarray, relative: np.ndarray) -> str:
    masses = ((mz + _NUDGE) * 1_000_000).astype(np.int64)
    heights = (relative + _NUDGE).astype(np.int64)
    order = np.lexsort((-heights, masses))
    text = " ".join(f"{m}:{h}" for m, h in zip(masses[order].tolist(), heights[order].tolist(), strict=True))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _bins(mz: np.ndarray, relative: np.ndarray, base: int, length: int, width: int) -> np.ndarray:
    """Histogram of intensity over m/z, modulo `length` bins, scaled to integers from 0 to base - 1."""
    sums = np.bincount((mz / width).astype(np.int64) % length, weights=relative, minlength=length)
    return (_NUDGE + (base - 1) * sums / sums.max()).astype(np.int64)


def _histogram(mz: np.ndarray, relative: np.ndarray) -> str:
    return "".join(_BASE36[d] for d in _bins(mz, relative, base=10, length=10, width=100))


def _prefilter(mz: np.ndarray, relative: np.ndarray) -> str:
    """Histogram in base 3 of the ten most intense peaks above 10 %, written in base 36."""
    top = np.lexsort((mz, -relative))
    top = top[relative[top] + _NUDGE >= 10.0][:10]
    digits = "".join(_BASE3[d] for d in _bins(mz[top], relative[top], base=3, length=10, width=5))
    number, text = int(digits, 3), ""
    for _ in range(4):
        number, digit = divmod(number, 36)
        text = _BASE36[digit] + text
    return text
