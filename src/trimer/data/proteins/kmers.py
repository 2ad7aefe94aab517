"""Similarity and groups of proteins by shared k-mers, in linear time.

A k-mer is k consecutive amino acids; k-mers with any other letter (X, B, gaps) are ignored. The similarity of two
proteins is the number of distinct k-mers they share, divided by the smaller of their numbers of distinct k-mers.
Unrelated proteins share almost none: there are 64 million 6-mers.

Groups are connected components (single linkage) of the pairs whose similarity is above a threshold. Method: all
occurrences of all k-mers are sorted, and each protein is compared with the next WINDOW proteins that have the same
k-mer, longest first. A pair that shares enough of these is joined; other pairs that share at least two k-mers are
compared over all k-mers. Time and memory grow with the number of residues, not with the number of pairs. The method
can miss weak similarities of proteins whose k-mers are all very common. The idea is from Linclust (Steinegger and
Söding 2018, doi:10.1038/s41467-018-04964-5).

Shapes: n proteins, P k-mers in total.
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
SHARE = 0.1  # similarity above which two proteins are relatives
LONGEST_K = 8  # a k-mer and the number of its protein must fit in 64 bits
WINDOW = 8  # proteins with the same k-mer that each protein is compared with
SLICE = 8_000_000  # k-mers sorted at a time
FEW = 50  # below this number of k-mers, one shared k-mer makes a candidate pair
CHUNK = 4_000_000  # residues split into k-mers at a time
PAIRS = 20_000  # candidate pairs compared over all k-mers at a time


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
    values, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start, stop in _chunks(tokens.lengths, CHUNK):
        chunk = tokens.slice(start, stop)
        codes = chunk.values.astype(np.int64) - RESIDUES[0]
        fits = (codes >= 0) & (codes < len(RESIDUES))
        count = max(len(codes) - k + 1, 0)
        words, whole = np.zeros(count, np.int64), np.ones(count, bool)
        for position in range(k):  # begin and end tokens are not residues, so no k-mer spans two sequences
            words = words * len(RESIDUES) + codes[position : position + count]
            whole &= fits[position : position + count]
        owner = np.repeat(np.arange(len(chunk)), chunk.lengths)[:count]
        both = _distinct(owner[whole] * len(RESIDUES) ** k + words[whole])[0]
        values.append(both % len(RESIDUES) ** k)
        sizes.append(np.bincount(both // len(RESIDUES) ** k, minlength=len(chunk)))
    return Kmers(np.concatenate(values), np.concatenate([[0], np.cumsum(np.concatenate(sizes))]), k)


def kmer_groups(kmers: Kmers, share: float = SHARE) -> np.ndarray:
    """(n,) group number of each protein; relatives, and relatives of relatives, have the same."""
    count, sizes = len(kmers), kmers.sizes
    rank = np.empty(count, np.int64)  # longest first, so that neighbours in a list have similar lengths
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    pairs, shared, crowded = _candidates(kmers, rank)
    row = np.argsort(rank)
    first, second = row[pairs // count], row[pairs % count]
    enough = share * np.minimum(sizes[first], sizes[second])
    sure = shared > enough
    groups = _components(first[sure], second[sure], count)
    most = shared + np.minimum(crowded[rank[first]], crowded[rank[second]])  # k-mers that they can share
    open_ = np.flatnonzero(~sure & (most > enough))
    open_ = open_[np.argsort(-shared[open_] / enough[open_], kind="stable")]
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
    """(n,) largest similarity of each protein of `asked` to any protein of `others`."""
    words, inverse = np.unique(asked.values, return_inverse=True)
    asked_matrix = Kmers(inverse.ravel(), asked.offsets, asked.k).matrix(len(words))
    best = np.zeros(len(asked))
    for other in others:
        positions = np.searchsorted(words, other.values).clip(max=max(len(words) - 1, 0))
        hit = words[positions] == other.values if len(words) else np.zeros(len(other.values), bool)
        offsets = np.concatenate([[0], np.cumsum(hit)])[other.offsets]
        common = (asked_matrix @ Kmers(positions[hit], offsets, other.k).matrix(len(words)).T).tocoo()
        smaller = np.minimum(asked.sizes[common.row], other.sizes[common.col])
        np.maximum.at(best, common.row, common.data / smaller)
    return best


def _candidates(kmers: Kmers, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m,) candidate pairs as rank * n + higher rank; (m,) k-mers counted as shared; (n,) k-mers that may be missed.

    The k-mers are divided into slices by hash. A pair must share two k-mers of one slice, unless a protein is short.
    The k-mers that more than WINDOW other proteins have may be missed; their number is given for each rank.
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
    """Pairs of proteins at most WINDOW positions apart in the list of a k-mer."""
    for distance in range(1, WINDOW + 1):
        same = np.flatnonzero(words[distance:] == words[:-distance]) if len(words) > distance else np.zeros(0, int)
        yield ranks[same] * count + ranks[same + distance]


def _distinct(values: np.ndarray, times: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values, ascending, and their counts (or sums of `times`). Much faster than np.unique."""
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
    """Ranges (start, stop) of rows with about `most` residues each."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + most, side="right")), start + 1)
        yield start, stop
        start = stop
