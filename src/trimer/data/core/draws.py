"""Stateless random numbers: each is a function of a key such as (seed, epoch, row, position).

The function is the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators"), which turns counters into 64 independent-looking bits.

Shapes: B rows, T numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)


def mix(words: np.ndarray) -> np.ndarray:
    """Random-looking bits of uint64 words, same shape; the same word always gives the same bits."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def keys(*words: int | np.ndarray) -> np.ndarray:
    """(B,) uint64 keys, one for each row, from numbers and (B,) integers, for example keys(seed, epoch, rows)."""
    key = np.zeros(1, np.uint64)
    for word in words:
        key = mix((key + STEP) ^ np.asarray(word).astype(np.uint64))
    return key


def positions(keys: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(T,) uint64 random bits for the positions of B concatenated sequences; they depend only on the sequence's key."""
    starts = (np.cumsum(lengths) - lengths).astype(np.uint64)
    return mix(np.repeat(keys - starts * STEP, lengths) + np.arange(1, lengths.sum() + 1, dtype=np.uint64) * STEP)


def uniform(bits: np.ndarray) -> np.ndarray:
    """Uniform float64 in [0, 1) from uint64 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53


def digest(text: bytes) -> bytes:
    """The first 64 bits of the BLAKE2b hash of a text."""
    return hashlib.blake2b(text, digest_size=8).digest()


def digests(texts: Iterable[bytes]) -> np.ndarray:
    """(n,) int64 digest of each text."""
    return np.frombuffer(b"".join(map(digest, texts)), np.int64)
