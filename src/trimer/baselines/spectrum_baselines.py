"""Baselines for spectra to molecules: trivial baselines and look-ups that only use the training set.

Each baseline is a function (train, test, k, seed) -> ranked SMILES per test spectrum. Train rows need `smiles`.
Molecules are identified by InChIKey block 1 (column `inchikey1`, otherwise computed), so a molecule has one rank
however many spectra it has. Ties go to the molecule that comes first in the training table. The look-ups with the
similarity scores of matchms are in `trimer.baselines.matchms_lookup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from trimer.chemistry import identifiers as chemistry
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import InputError
from trimer.metrics.molecule_properties import molecule_facts, tanimoto_to_many

BIN = 0.02  # Th
CHUNK_CELLS = 4_000_000  # of the dense score matrix held at once: 16 MB


@dataclass(frozen=True)
class DistinctMolecules:
    """The M different molecules of n spectra: their SMILES, and (n,) the index of the molecule of each spectrum."""

    smiles: list[str]
    of_row: np.ndarray

    def name(self, ranked: Iterable[int]) -> list[str]:
        """The SMILES of some molecules."""
        return [self.smiles[index] for index in ranked]


def random_molecule(train: SpectrumTable, test: SpectrumTable, k: int = 10, seed: int = 0) -> list[list[str]]:
    """k different training molecules, drawn evenly."""
    molecules = distinct_molecules(train)
    random = np.random.default_rng(seed)
    k = min(k, len(molecules.smiles))
    return [molecules.name(random.choice(len(molecules.smiles), k, replace=False)) for _ in range(len(test))]


def nearest_precursor(train: SpectrumTable, test: SpectrumTable, k: int = 10, seed: int = 0) -> list[list[str]]:
    """The k training molecules whose precursor m/z is nearest; a test spectrum without precursor gets none."""
    molecules = distinct_molecules(train)
    measured = np.flatnonzero(np.isfinite(train["precursor_mz"]))
    pairs = np.stack([train["precursor_mz"][measured], molecules.of_row[measured]], axis=1)
    pairs = np.unique(pairs, axis=0)  # ascending m/z
    mz, owner = pairs[:, 0], pairs[:, 1].astype(np.int64)
    return [molecules.name(_nearest(mz, owner, value, k)) for value in test["precursor_mz"]]


def cosine_lookup(train: SpectrumTable, test: SpectrumTable, k: int = 10, seed: int = 0) -> list[list[str]]:
    """The k training molecules with the most similar spectrum: cosine of square-root intensities in bins of 0.02 Th.

    A molecule scores by its best spectrum. Where fewer than k molecules share a peak with the spectrum, those with the
    nearest precursor m/z follow.
    """
    molecules = distinct_molecules(train)
    order = np.argsort(molecules.of_row, kind="stable")
    starts = np.searchsorted(molecules.of_row[order], np.arange(len(molecules.smiles)))
    ranked: list[np.ndarray] = []
    for scores in binned_cosines(train.take(order), test):
        best = np.maximum.reduceat(scores, starts, axis=1)  # (step, M)
        ranked += [top(row, k) for row in best]
    return with_nearest_precursors(train, test, [molecules.name(indices) for indices in ranked], k)


def analogue_lookup(train: SpectrumTable, test: SpectrumTable, k: int = 10, seed: int = 0) -> list[list[str]]:
    """The k training molecules that share most peaks and neutral losses (`trimer.baselines.analogue_lookup`)."""
    from trimer.baselines.analogue_lookup import AnalogueLibrary, analogue_scores

    library = AnalogueLibrary(train)
    ranked = [[smiles for smiles, _ in library.ranked(scores, k)] for scores in analogue_scores(train, test)]
    return with_nearest_precursors(train, test, ranked, k)


def binned_cosines(train: SpectrumTable, test: SpectrumTable) -> Iterator[np.ndarray]:
    """Cosines of binned spectra, (step, n) float32 for some test spectra at a time, in their order."""
    bins = int(max(table.mz.max(initial=0.0) for table in (train, test)) / BIN) + 1
    library = _binned(train, bins).T.tocsr()  # (bins, n)
    queries = _binned(test, bins)  # (m, bins)
    step = max(1, CHUNK_CELLS // max(1, len(train)))
    for start in range(0, len(test), step):
        yield (queries[start : start + step] @ library).toarray()


def with_nearest_precursors(
    train: SpectrumTable, test: SpectrumTable, ranked: list[list[str]], k: int
) -> list[list[str]]:
    """The ranked molecules, followed by those with the nearest precursor m/z where there are fewer than k."""
    short = np.array([row for row, names in enumerate(ranked) if len(names) < k], dtype=np.int64)
    names = [list(row) for row in ranked]
    for row, others in zip(short, nearest_precursor(train, test.take(short), 2 * k), strict=True):
        names[row] = list(dict.fromkeys(names[row] + others))[:k]
    return names


def tanimoto_oracle(train: SpectrumTable, test: SpectrumTable, k: int = 10, seed: int = 0) -> list[list[str]]:
    """The k training molecules most similar to the true one: the oracle, an upper limit for look-ups."""
    molecules = distinct_molecules(train)
    library = [_readable(smiles, "training") for smiles in molecules.smiles]
    ranked: dict[str, list[str]] = {}
    for smiles in test["smiles"]:
        if smiles not in ranked:
            scores = np.array(tanimoto_to_many(_readable(smiles, "test"), library))
            ranked[smiles] = molecules.name(np.argsort(-scores, kind="stable")[:k])
    return [ranked[smiles] for smiles in test["smiles"]]


# Name in result tables -> baseline, the oracle last.
BASELINES: dict[str, Callable[..., list[list[str]]]] = {
    "random training molecule": random_molecule,
    "nearest precursor m/z": nearest_precursor,
    "cosine look-up": cosine_lookup,
    "look-up of analogues": analogue_lookup,
    "oracle: most similar training molecule": tanimoto_oracle,
}


def distinct_molecules(train: SpectrumTable) -> DistinctMolecules:
    """The molecules of the training spectra; InputError for a spectrum without one."""
    if len(train) == 0:
        raise InputError("there are no training spectra for the baselines: check the split")
    keys = train.columns.get("inchikey1", np.full(len(train), None, object))
    known: dict[str, str | None] = {}
    index: dict[str, int] = {}
    smiles: list[str] = []
    of_row = np.empty(len(train), np.int64)
    for row, (text, key) in enumerate(zip(train["smiles"], keys, strict=True)):
        if not key and text not in known:
            known[text] = chemistry.inchikey_block1(chemistry.parse(text))
        key = key or known[text]
        if not key:
            raise InputError(
                f"training spectrum {train['id'][row]} has no molecule (SMILES '{text}'), so no baseline can "
                "predict it; let the cleaning step Structure drop it"
            )
        if key not in index:
            index[key] = len(smiles)
            smiles.append(text)
        of_row[row] = index[key]
    return DistinctMolecules(smiles, of_row)


def _nearest(mz: np.ndarray, owner: np.ndarray, value: float, k: int) -> np.ndarray:
    """The k owners of the m/z nearest to a value, nearest first; mz is ascending.

    The search window is widened until the k nearest are certain to lie in it.
    """
    if not np.isfinite(value):
        return np.zeros(0, np.int64)
    middle = int(np.searchsorted(mz, value))
    width = 4 * k
    while True:
        low, high = max(0, middle - width), min(len(mz), middle + width)
        distance = np.abs(mz[low:high] - value)
        # Everything outside the window is farther away than this, so the order of what is nearer is final.
        certain = min(distance[0] if low else np.inf, distance[-1] if high < len(mz) else np.inf)
        order = np.lexsort((owner[low:high], distance))
        order = order[distance[order] < certain]
        nearest = np.array(list(dict.fromkeys(owner[low:high][order].tolist())), dtype=np.int64)
        if len(nearest) >= k or (low == 0 and high == len(mz)):
            return nearest[:k]
        width *= 2


def _binned(table: SpectrumTable, bins: int) -> sparse.csr_matrix:
    """(n, bins) float32 square-root intensities, each spectrum of length 1; a spectrum without peaks stays zero."""
    values = np.sqrt(np.nan_to_num(np.clip(table.intensity, 0, None)))
    columns = (table.mz / BIN).astype(np.int64)
    matrix = sparse.csr_matrix((values, (table.owners, columns)), shape=(len(table), bins), dtype=np.float32)
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return sparse.diags(scale.astype(np.float32)) @ matrix


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Up to k indices of the highest positive scores, highest first, ties in order."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > k:
        threshold = np.partition(scores[positive], -k)[-k]
        positive = positive[scores[positive] >= threshold]
    return positive[np.argsort(-scores[positive], kind="stable")][:k]


def _readable(smiles: str, where: str):
    molecule = molecule_facts(smiles)
    if molecule is None:
        raise InputError(
            f"the {where} SMILES '{smiles}' cannot be read, so the Tanimoto oracle cannot compare it; "
            "correct it or let the cleaning step Structure drop the record"
        )
    return molecule
