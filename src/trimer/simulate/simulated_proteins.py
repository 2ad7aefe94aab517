"""Simulated protein families built from shared motifs, so that residues can be predicted from their context.

The rule. There are 48 motifs of 10 to 24 residues, the same for every seed. Each position of a motif is conserved with
its own probability (0.6 to 0.98); otherwise it becomes a similar amino acid or, less often, any amino acid. A family
has an ancestor: a log-normal number of residues (median 280, as in UniRef), made of motifs with linkers between them.
The order of motifs is a Markov chain in which three successors have 80 % of the probability. Linkers have the
composition of their family. Members of a family differ from the ancestor by substitutions (5 to 40 % of the positions,
with one rate per member), by the lengths of their linkers, and some by truncated ends.

A model that has learned the motifs can therefore predict a residue from its neighbours in a family it has never seen.
The amino acid composition says almost nothing about it. Families share no ancestor: they are the clusters of a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.proteins.protein_table import ProteinTable
from trimer.errors import ConfigError

RULE = 1  # part of the cache key: increase it when the rule changes
LETTERS = np.frombuffer(b"LAGVSERTIDPKQNFYMHWC", np.uint8)
# Amino acid frequencies in UniProt, in percent, in the order of LETTERS.
SHARES = np.array([9.7, 8.3, 7.1, 6.9, 6.6, 6.7, 5.5, 5.3, 5.9, 5.5, 4.7, 5.8, 3.9, 4.1, 3.9, 2.9, 2.4, 2.3, 1.1, 1.4])
KINDS = ("LIVM", "FWYH", "STNQ", "DE", "KR", "AGC", "P")  # groups of similar size and charge
MOTIFS = 48
SHORTEST, LONGEST = 30, 8000  # residues of an ancestor
CHUNK = 2_000


@dataclass(frozen=True)
class Stock:
    """The motifs, how well their positions are conserved, and which motif follows which.

    letters: (P,) concatenated motifs, as indices of LETTERS. kept: (P,) probability that a position is conserved.
    offsets: (MOTIFS + 1,) where each motif begins. follows: (MOTIFS, MOTIFS) cumulative probabilities of the next
    motif. alike: (20, 20) cumulative probabilities of what a substituted residue becomes.
    """

    letters: np.ndarray
    kept: np.ndarray
    offsets: np.ndarray
    follows: np.ndarray
    alike: np.ndarray


@cache
def stock() -> Stock:
    """The motifs that all families share; they do not depend on a seed."""
    random = np.random.Generator(np.random.PCG64(20_000))
    shares = SHARES / SHARES.sum()
    offsets = np.concatenate([[0], np.cumsum(random.integers(10, 25, MOTIFS))])
    follows = np.full((MOTIFS, MOTIFS), 0.2 / MOTIFS)
    for row in follows:
        row[random.permutation(MOTIFS)[:3]] += 0.8 * np.array([0.5, 0.3, 0.2])
    group = np.array([next(i for i, kind in enumerate(KINDS) if chr(letter) in kind) for letter in LETTERS])
    alike = np.where(group[:, None] == group[None, :], shares, 0.0)
    alike = 0.7 * alike / alike.sum(1, keepdims=True) + 0.3 * shares
    return Stock(
        random.choice(20, offsets[-1], p=shares),
        random.choice([0.6, 0.9, 0.98], offsets[-1], p=[0.3, 0.4, 0.3]),
        offsets,
        np.cumsum(follows, axis=1),
        np.cumsum(alike, axis=1),
    )


def substituted(letters: np.ndarray, change: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy with random substitutions, mostly by similar amino acids, at the positions of the mask `change`."""
    changed = letters.copy()
    cumulative = stock().alike[letters[change]]
    changed[change] = np.minimum((cumulative < random.random((len(cumulative), 1)) * cumulative[:, -1:]).sum(1), 19)
    return changed


def ancestor(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The ancestor of a family: indices of LETTERS, and whether each residue belongs to a linker."""
    motifs = stock()
    target_length = int(np.clip(random.lognormal(np.log(280), 0.75), SHORTEST, LONGEST))
    shares = random.dirichlet(20 * SHARES / SHARES.sum() * 5)
    segments: list[np.ndarray] = []
    linker: list[np.ndarray] = []
    motif, length = int(random.integers(MOTIFS)), 0
    while length < target_length:
        gap = int(random.geometric(0.25)) - 1
        span = slice(motifs.offsets[motif], motifs.offsets[motif + 1])
        body = substituted(motifs.letters[span], random.random(span.stop - span.start) > motifs.kept[span], random)
        segments += [random.choice(20, gap, p=shares), body]
        linker += [np.ones(gap, bool), np.zeros(len(body), bool)]
        length += gap + len(body)
        motif = min(int(np.searchsorted(motifs.follows[motif], random.random())), MOTIFS - 1)
    return np.concatenate(segments)[:target_length], np.concatenate(linker)[:target_length]


def member(founder: np.ndarray, linker: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A member of a family, as letters: with substitutions, other linker lengths and sometimes truncated ends."""
    rate = random.uniform(0.05, 0.4)
    residues = substituted(founder, random.random(len(founder)) < rate, random)
    copies = np.where(linker, random.choice([0, 1, 2], len(residues), p=[0.1, 0.8, 0.1]), 1)
    letters = LETTERS[np.repeat(residues, copies)]
    if random.random() < 0.2:
        cut = random.integers(0, len(letters) // 5 + 1, 2)
        letters = letters[cut[0] : max(len(letters) - cut[1], cut[0] + 1)]
    elif len(letters):
        letters[0] = ord("M")
    return letters


@dataclass(frozen=True)
class SimulatedProteins:
    """Simulated proteins in families; the same arguments give the same proteins.

    A smaller number gives the first proteins of a larger one. The families are given as clusters; three in five have
    one member, some have a hundred.
    """

    proteins: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.proteins < 1:
            raise ValueError(f"proteins={self.proteins} must be 1 or more")

    def fingerprint(self) -> str:
        """Cache key: differs if the proteins differ."""
        return f"simulated-proteins/{RULE}/{self.proteins}/{self.seed}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[ProteinTable]:
        """Tables of at most 2,000 proteins. columns: only `family` is available."""
        if unknown := [name for name in columns if name != "family"]:
            raise ConfigError(f"the simulated source has no column {', '.join(unknown)}, only family")
        ids: list[str] = []
        families: list[str | None] = []
        sequences: list[np.ndarray] = []
        for count, (name, family, sequence) in enumerate(self._proteins(), 1):
            ids.append(name)
            families.append(family)
            sequences.append(sequence)
            if len(ids) == CHUNK or count == self.proteins:
                yield ProteinTable(ids, Ragged.pack(sequences), families, {name: families for name in columns})
                ids, families, sequences = [], [], []

    def _proteins(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """(id, family, letters) of each protein."""
        remaining, number = self.proteins, 0
        while remaining:
            random = np.random.Generator(np.random.PCG64([self.seed, number]))
            size = min(int(random.zipf(1.9)), 100)
            founder, linker = ancestor(random)
            family = f"F{number:06d}"
            for index in range(min(size, remaining)):
                yield f"sim-{self.seed}-{number}-{index}", family, member(founder, linker, random)
            remaining -= min(size, remaining)
            number += 1
