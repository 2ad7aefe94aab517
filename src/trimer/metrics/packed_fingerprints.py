"""Morgan fingerprints (radius 2, 2048 bits) as packed bits, and the highest Tanimoto similarity to many of them.

Bit i is bit i % 8, from the least significant one, of byte i // 8. Shapes: n molecules, N molecules of a library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit.DataStructs import BitVectToBinaryText

from trimer.metrics.molecule_properties import BITS, fingerprint_of

BYTES = BITS // 8
CHUNK = 1_024  # molecules of the library that are compared at once: 256 KB, which a cache of the CPU holds


def packed_fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """(n, 256) uint8 fingerprints; SMILES that cannot be read are left out."""
    vectors = [vector for text in smiles if (vector := fingerprint_of(text)) is not None]
    texts = b"".join(BitVectToBinaryText(vector) for vector in vectors)
    return np.frombuffer(texts, np.uint8).reshape(-1, BYTES)


def bits_of(smiles: Sequence[str]) -> np.ndarray:
    """(n, 2048) uint8 bits of the fingerprints; zeros for SMILES that cannot be read."""
    bits = np.zeros((len(smiles), BITS), np.uint8)
    for row, text in enumerate(smiles):
        if (vector := fingerprint_of(text)) is not None:
            bits[row] = np.unpackbits(np.frombuffer(BitVectToBinaryText(vector), np.uint8), bitorder="little")
    return bits


def expected_similarity(expected: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """(N,) Tanimoto similarities of (2048,) expected bits to (N, 2048) fingerprints: common over all, of the means."""
    common = bits.astype(np.float32) @ expected
    return common / np.maximum(bits.sum(1, dtype=np.float32) + expected.sum() - common, 1e-9)


class PackedLibrary:
    """Fingerprints of N molecules, (N, 256) uint8, to which others are compared."""

    def __init__(self, fingerprints: np.ndarray):
        words = np.ascontiguousarray(fingerprints, dtype=np.uint8).view(np.uint64)  # (N, 32)
        counts = np.bitwise_count(words).sum(1, dtype=np.int64)
        order = np.argsort(counts, kind="stable")
        self.words, self.counts = words[order], counts[order]
        self._known: dict[str, float | None] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def similarity(self, smiles: str) -> float | None:
        """Highest Tanimoto similarity of a molecule to those of the library; None if it is unreadable or N is 0."""
        if smiles not in self._known:
            if len(self._known) >= 100_000:  # candidates of different spectra are often the same
                self._known.clear()
            fingerprint = packed_fingerprints([smiles])
            self._known[smiles] = self._highest(fingerprint[0]) if len(fingerprint) and len(self) else None
        return self._known[smiles]

    def similarities(self, smiles: Sequence[str]) -> list[float | None]:
        """The similarity of each molecule."""
        return [self.similarity(text) for text in smiles]

    def _highest(self, fingerprint: np.ndarray) -> float:
        """The highest similarity to a fingerprint.

        With a and b bits, it is at most min(a, b) / max(a, b), so libraries of other sizes are skipped once a
        higher one is known: rows are compared from the nearest number of bits outwards.
        """
        words = np.ascontiguousarray(fingerprint).view(np.uint64)
        size = int(np.bitwise_count(words).sum())
        if not size:
            return 0.0
        best, low = 0.0, int(np.searchsorted(self.counts, size))
        high = low
        while low or high < len(self):
            window = [(max(low - CHUNK, 0), low), (high, min(high + CHUNK, len(self)))]
            for start, stop in window:
                if start == stop:
                    continue
                counts = self.counts[start:stop]
                if (np.minimum(counts, size) / np.maximum(counts, size)).max() <= best:
                    continue
                shared = np.bitwise_count(self.words[start:stop] & words).sum(1, dtype=np.int64)
                best = max(best, float((shared / (counts + size - shared)).max()))
            low, high = window[0][0], window[1][1]
        return best
