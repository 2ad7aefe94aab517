"""Composition features of proteins and peptides for linear models.

The 20 amino acids are counted; other letters (X, B, U) keep their position and are not counted. Hydropathy: Kyte and
Doolittle (J. Mol. Biol. 1982), who predict a membrane-spanning segment where the mean over 19 residues exceeds 1.6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.peptides.modifications import ELEMENTS, composition_vector
from trimer.peptides.proforma import read_proforma

HYDROPATHY = {
    "A": 1.8, "R": -4.5, "N": -3.5, "D": -3.5, "C": 2.5, "Q": -3.5, "E": -3.5, "G": -0.4, "H": -3.2, "I": 4.5,
    "L": 3.8, "K": -3.9, "M": 1.9, "F": 2.8, "P": -1.6, "S": -0.8, "T": -0.7, "W": -0.9, "Y": -1.3, "V": 4.2,
}  # fmt: skip
WINDOW, SPANNING = 19, 1.6
SIGNAL = 50  # windows that start before this position may be a signal peptide or anchor
# Lengths of the N-terminal regions: the size of signal peptides and of transit peptides. Chosen by cross-validation
# in the train file of DeepLoc 1.0, among single lengths from 20 to 60 and this pair.
ENDS = (20, 60)
TAIL = 3  # residues at the C terminus: the length of the peroxisomal signal SKL and its variants
_INDEX = np.full(256, -1)
_INDEX[[ord(residue) for residue in HYDROPATHY]] = np.arange(20)
_INDEX[[ord(residue.lower()) for residue in HYDROPATHY]] = np.arange(20)
_VALUES = np.array([*HYDROPATHY.values(), 0.0])  # the last value is for all other letters


def residue_indices(text: str) -> np.ndarray:
    """(L,) index of each residue among the 20 of `HYDROPATHY`, -1 for another letter."""
    return _INDEX[np.frombuffer(text.encode("latin-1", "replace"), np.uint8)]


def composition(texts: Sequence[str], ends: Sequence[int] = ENDS) -> np.ndarray:
    """(n, 420 + 20 len(ends) + 60 + 6) features of n sequences.

    Frequencies of the residues and of pairs of neighbours; of the residues among the first 20 and 60 (`ends`); which
    residue is third to last, second to last and last; mean hydropathy, highest mean of 19 residues, share and number of
    the segments above 1.6, highest mean of those that begin among the first 50, and the logarithm of the length.
    """
    if not len(texts):
        return np.zeros((0, 426 + 20 * (TAIL + len(ends))))
    return np.stack([_features(text, ends) for text in texts])


def peptide_composition(texts: Sequence[str]) -> np.ndarray:
    """(n, 20 + 80 + E + 2) features of n peptides in ProForma.

    Counts of the residues, which residue is first, second, second to last and last, atoms of each element that
    modifications add, the length and its logarithm.
    """
    return np.stack([_of_peptide(text) for text in texts]) if len(texts) else np.zeros((0, 102 + len(ELEMENTS)))


def _of_peptide(text: str) -> np.ndarray:
    peptide = read_proforma(text)
    residues = _INDEX[np.frombuffer(peptide.letters.encode(), np.uint8)]
    ends = np.zeros((4, 20))
    for row, position in enumerate((0, 1, -2, -1)):
        if len(residues) > 1 or position in (0, -1):
            ends[row, residues[position]] = 1
    added = composition_vector(modification for _, modification in peptide.modifications)
    length = len(residues)
    return np.concatenate([np.bincount(residues, minlength=20), ends.ravel(), added, [length, np.log(length)]])


def _features(text: str, ends: Sequence[int]) -> np.ndarray:
    residues = residue_indices(text)
    left, right = residues[:-1], residues[1:]
    pairs = (left * 20 + right)[(left >= 0) & (right >= 0)]
    features = [_frequencies(residues, 20), _frequencies(pairs, 400)]
    features += [_frequencies(residues[:end], 20) for end in ends]
    return np.concatenate([*features, _last(residues).ravel(), _hydropathy(residues)])


def _last(residues: np.ndarray) -> np.ndarray:
    """(3, 20) one-hot residues at the C terminus; zeros before a shorter sequence and for other letters."""
    out = np.zeros((TAIL, 20))
    for row, residue in enumerate(residues[-TAIL:], TAIL - min(TAIL, len(residues))):
        if residue >= 0:
            out[row, residue] = 1
    return out


def _frequencies(indices: np.ndarray, size: int) -> np.ndarray:
    counts = np.bincount(indices[indices >= 0], minlength=size)
    return counts / max(1, counts.sum())


def _hydropathy(residues: np.ndarray) -> np.ndarray:
    values = _VALUES[residues]
    if len(values) < WINDOW:
        values = np.append(values, np.zeros(WINDOW - len(values)))
    windows = np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid")
    spans = windows > SPANNING
    stretches = np.count_nonzero(np.diff(spans.astype(int), prepend=0) == 1)
    length = max(1, len(residues))
    start = windows[:SIGNAL].max()
    return np.array([values.sum() / length, windows.max(), spans.mean(), stretches, start, np.log(length)])
