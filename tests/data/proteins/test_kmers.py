"""Shared k-mers are counted as sets, groups are those of a comparison of all pairs, and the largest similarity too."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest

from trimer.data.core.splits import row_groups
from trimer.data.proteins import kmers
from trimer.data.proteins.kmers import kmer_groups, kmers_of, largest_similarity, shared_kmers
from trimer.data.proteins.relatives import encode_proteins

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


@cache
def cut(text: str, k: int) -> set[str]:
    """The k-mers of a sequence, the slow way."""
    return {text[i : i + k] for i in range(len(text) - k + 1) if set(text[i : i + k]) <= set(LETTERS)}


def similarity(one: str, other: str, k: int) -> float:
    one, other = cut(one, k), cut(other, k)
    return len(one & other) / max(min(len(one), len(other)), 1)


def families(count: int = 25, seed: int = 0) -> list[str]:
    """Random proteins, each with some copies in which a share of the residues is another one; some fragments."""
    random = np.random.default_rng(seed)
    copies = []
    for _ in range(count):
        founder = random.choice(LETTERS, random.integers(8, 120))
        for rate in random.choice([0.0, 0.05, 0.1, 0.2, 0.3], random.integers(1, 6)):
            copy = np.where(random.random(len(founder)) < rate, random.choice(LETTERS, len(founder)), founder)
            copies.append("".join(copy[random.integers(0, 20) :]))
    return [*copies, "MKXXXXXXXXXX", "AAAAAAAAAAAA", "AC", "", "MKBZ-ACDEFGHIKL"]


@pytest.mark.parametrize("k", [3, 6, 8])
def test_kmers_are_distinct_and_contain_only_amino_acids(k):
    texts = families()
    kmers = kmers_of(encode_proteins(texts), k)
    assert kmers.sizes.tolist() == [len(cut(text, k)) for text in texts]
    pairs = np.array(list(combinations(range(len(texts)), 2)))[::7]
    shared = shared_kmers(kmers, pairs[:, 0], pairs[:, 1])
    assert shared.tolist() == [len(cut(texts[a], k) & cut(texts[b], k)) for a, b in pairs]


@pytest.mark.parametrize("settings", [{}, {"SLICE": 2000, "WINDOW": 8}, {"CHUNK": 300}, {"PAIRS": 2}])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_groups_equal_those_of_exhaustive_comparison(monkeypatch, settings, share):
    for name, value in settings.items():
        monkeypatch.setattr(kmers, name, value)
    texts = families(seed=1)
    groups = kmer_groups(kmers_of(encode_proteins(texts)), share)
    parent = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        if similarity(texts[a], texts[b], 6) > share:
            old, new = parent[a], parent[b]
            parent = [new if one == old else one for one in parent]
    assert row_groups({"mine": groups}).tolist() == row_groups({"theirs": np.array(parent)}).tolist()
    assert len(set(parent)) < len(texts) - 5, "the proteins have relatives"


def test_a_family_larger_than_the_window_is_one_group():
    random = np.random.default_rng(2)
    founder = random.choice(LETTERS, 100)
    copies = [np.where(random.random(100) < 0.1, random.choice(LETTERS, 100), founder) for _ in range(60)]
    texts = ["".join(copy) for copy in copies] + ["".join(random.choice(LETTERS, 100)) for _ in range(20)]
    groups = kmer_groups(kmers_of(encode_proteins(texts)))
    assert len(set(groups[:60])) == 1 and len(set(groups)) == 21


def test_common_motif_does_not_make_proteins_relatives():
    random = np.random.default_rng(3)
    texts = ["".join(random.choice(LETTERS, 200)) + "HHHHHHHHWWC" for _ in range(50)]
    assert len(set(kmer_groups(kmers_of(encode_proteins(texts))))) == 50


def test_largest_similarity_is_that_of_the_most_similar_protein():
    texts = families(seed=4)
    asked, others = texts[::3], [text for row, text in enumerate(texts) if row % 3]
    parts = [kmers_of(encode_proteins(some)) for some in (others[:10], others[10:])]
    largest = largest_similarity(kmers_of(encode_proteins(asked)), parts)
    expected = [max(similarity(one, other, 6) for other in others) for one in asked]
    assert largest == pytest.approx(expected)
    assert max(expected) == 1 and min(expected) == 0


def test_sequences_without_kmers_have_no_relatives():
    nothing = kmers_of(encode_proteins(["AC", "", "XXXXXXXXX"]))
    assert len(set(kmer_groups(nothing))) == 3
    assert largest_similarity(nothing, [kmers_of(encode_proteins(["ACDEFGHIKL"]))]).tolist() == [0, 0, 0]
    assert len(kmer_groups(kmers_of(encode_proteins([])))) == 0
