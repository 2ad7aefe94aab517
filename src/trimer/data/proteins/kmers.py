"""Proteins that are related: what two sequences share of their k-mers, in linear time.

A k-mer is k amino acids in a row; those with any other letter (X, B, gaps) are left out. The similarity of two proteins
is the number of distinct k-mers that both have, divided by the number of the protein that has fewer. Unrelated
proteins share next to nothing: there are 64 million 6-mers.

Groups are connected components (single linkage) of the pairs whose similarity is above a threshold. Method: all
occurrences of all k-mers are sorted, and each protein is compared with the WINDOW next ones that have the same k-mer,
longest proteins first; a pair that shares enough there is joined, the other pairs that share at least two k-mers are
compared whole. So work and memory grow with the number of residues and not with the number of pairs. What this can
miss are weak relations of proteins whose k-mers are all very common. The idea is that of Linclust (Steinegger and
Söding 2018, doi:10.1038/s41467-018-04964-5).

Shapes: n proteins, P k-mers of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from trimer.data.core.draws import mix
from trimer.data.core.ragged import Ragged
from trimer.tokenizers.protein import RESIDUES

K = 6  # residues
SHARE = 0.1  # of the k-mers of the smaller protein, above which two proteins are relatives
LONGEST_K = 8  # so that a k-mer and the number of its protein fit in 64 bits
WINDOW = 8  # proteins with the same k-mer that each protein is compared with
SLICE = 8_000_000  # k-mers that are sorted at a time
FEW = 50  # k-mers of a protein so short that one that is shared makes a pair worth a look
CHUNK = 4_000_000  # residues that are cut into k-mers at a time
PAIRS = 20_000  # that are compared whole at a time


@dataclass(frozen=True)
class Kmers:
    """The distinct k-mers of n proteins, ascending within each: k-mer j of protein i is values[offsets[i] + j].

    values: (P,) int64 below 20 ** k. offsets: (n + 1,) int64.
    """

    values: np.ndarray
    offsets: np.ndarray
    k: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(n,) distinct k-mers of each protein."""
        return np.diff(self.offsets)

    def matrix(self, columns: int) -> csr_array:
        """(n, columns) int32 of ones, for values below `columns`."""
        return csr_array((np.ones(len(self.values), np.int32), self.values, self.offsets), shape=(len(self), columns))


def kmers_of(tokens: Ragged, k: int = K) -> Kmers:
    """The distinct k-mers of sequences of the protein alphabet (`<cls>` ... `<eos>`)."""
    parts, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start, stop in _chunks(tokens.lengths, CHUNK):
        part = tokens.slice(start, stop)
        codes = part.values.astype(np.int64) - RESIDUES[0]
        fits = (codes >= 0) & (codes < len(RESIDUES))
        count = max(len(codes) - k + 1, 0)
        words, whole = np.zeros(count, np.int64), np.ones(count, bool)
        for place in range(k):  # a frame ends every sequence, so no k-mer crosses into the next one
            words = words * len(RESIDUES) + codes[place : place + count]
            whole &= fits[place : place + count]
        owner = np.repeat(np.arange(len(part)), part.lengths)[:count]
        both = _distinct(owner[whole] * len(RESIDUES) ** k + words[whole])[0]
        parts.append(both % len(RESIDUES) ** k)
        sizes.append(np.bincount(both // len(RESIDUES) ** k, minlength=len(part)))
    return Kmers(np.concatenate(parts), np.concatenate([[0], np.cumsum(np.concatenate(sizes))]), k)


def kmer_groups(kmers: Kmers, share: float = SHARE) -> np.ndarray:
    """(n,) number of the group of each protein: relatives, and relatives of relatives, have the same."""
    count, sizes = len(kmers), kmers.sizes
    rank = np.empty(count, np.int64)  # the longest first, so that neighbours in a list are of like length
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    pairs, found, crowded = _candidates(kmers, rank)
    row = np.argsort(rank)
    first, second = row[pairs // count], row[pairs % count]
    enough = share * np.minimum(sizes[first], sizes[second])
    sure = found > enough
    groups = _components(first[sure], second[sure], count)
    most = found + np.minimum(crowded[rank[first]], crowded[rank[second]])  # that they can share
    open_ = np.flatnonzero(~sure & (most > enough))
    open_ = open_[np.argsort(-found[open_] / enough[open_], kind="stable")]
    for start in range(0, len(open_), PAIRS):
        some = open_[start : start + PAIRS]
        some = some[groups[first[some]] != groups[second[some]]]
        some = some[shared_kmers(kmers, first[some], second[some]) > enough[some]]
        if len(some):
            joined = _components(groups[first[some]], groups[second[some]], int(groups.max()) + 1)
            groups = joined[groups]
    return groups


def shared_kmers(kmers: Kmers, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(m,) distinct k-mers that the proteins of each pair share."""
    matrix = kmers.matrix(20**kmers.k)
    return np.asarray(matrix[first].multiply(matrix[second]).sum(axis=1)).ravel()


def largest_similarity(asked: Kmers, others: Iterable[Kmers]) -> np.ndarray:
    """(n,) the largest similarity of each protein to any one of others, which are given in parts."""
    words, inverse = np.unique(asked.values, return_inverse=True)
    mine = Kmers(inverse.ravel(), asked.offsets, asked.k).matrix(len(words))
    best = np.zeros(len(asked))
    for other in others:
        places = np.searchsorted(words, other.values).clip(max=max(len(words) - 1, 0))
        hit = words[places] == other.values if len(words) else np.zeros(len(other.values), bool)
        offsets = np.concatenate([[0], np.cumsum(hit)])[other.offsets]
        common = (mine @ Kmers(places[hit], offsets, other.k).matrix(len(words)).T).tocoo()
        smaller = np.minimum(asked.sizes[common.row], other.sizes[common.col])
        np.maximum.at(best, common.row, common.data / smaller)
    return best


def _candidates(kmers: Kmers, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m,) pairs as rank * n + higher rank; (m,) how many k-mers they were found to share; (n,) how many may be missed.

    The k-mers are cut into slices by their hash. A pair has to share two in one of them, unless a protein is short.
    Missed may be, of each protein by rank, the k-mers that more than WINDOW others have.
    """
    count, slices = len(kmers), -(-len(kmers.values) // SLICE)
    short = np.sort(rank[kmers.sizes < FEW])
    first_short = int(short[0]) if len(short) else count  # shorter ones have higher ranks
    hashed = mix(kmers.values.astype(np.uint64)) % np.uint64(max(slices, 1))
    owner = np.repeat(rank, kmers.sizes)
    crowded = np.full(count, slices - 1)
    pairs, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in range(slices):
        here = hashed == number
        keys = np.sort(kmers.values[here] * count + owner[here])
        words, ranks = keys // count, keys % count
        lists = _distinct(words)[1]
        crowded += np.bincount(ranks[np.repeat(lists > WINDOW + 1, lists)], minlength=count)
        near, often = _distinct(np.concatenate(list(_neighbours(words, ranks, count))))
        kept = (often > 1) | (near % count >= first_short)
        pairs.append(near[kept])
        times.append(often[kept])
    return *_distinct(np.concatenate(pairs), np.concatenate(times)), crowded


def _neighbours(words: np.ndarray, ranks: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Pairs of proteins that stand at most WINDOW places apart in the list of a k-mer."""
    for distance in range(1, WINDOW + 1):
        same = np.flatnonzero(words[distance:] == words[:-distance]) if len(words) > distance else np.zeros(0, int)
        yield ranks[same] * count + ranks[same + distance]


def _distinct(values: np.ndarray, times: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, and how often each is there. Sorting is much faster than the table of np.unique."""
    if times is None:
        values = np.sort(values)
    else:
        order = np.argsort(values, kind="stable")
        values, times = values[order], times[order]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else np.zeros(0, int)
    counts = np.diff(first, append=len(values)) if times is None else np.add.reduceat(times, first)
    return values[first], counts


def _components(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _chunks(lengths: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Rows start to stop of about so many residues in all."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + most, side="right")), start + 1)
        yield start, stop
        start = stop
