"""The simulated source of proteins: families built from a common stock of motifs, so that residues tell of others.

The rule. There are 48 motifs of 10 to 24 residues, the same for every seed; each place of a motif is kept with its own
chance (0.6 to 0.98), else it becomes an amino acid of the same kind or, less often, any. A family has an ancestor: a
log-normal number of residues (median 280, as in UniRef), made of motifs with linkers between them. Which motif follows
which is a Markov chain in which three successors take four fifths of the chance. Linkers have the composition of their
family. The members of a family differ from the ancestor by substitutions (5 to 40 % of the places, each member at its
own rate), by the lengths of their linkers, and by what is cut off at the ends of some.

So a model can find a residue from its neighbours once it has learned the motifs, without having seen the family; the
amino acid composition says next to nothing about it. Families share no ancestor: they are the clusters to split by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.proteins.protein_table import ProteinTable
from trimer.errors import ConfigError

RULE = 1  # counts up when the rule changes, so that caches are made anew
LETTERS = np.frombuffer(b"LAGVSERTIDPKQNFYMHWC", np.uint8)
# Shares of the amino acids in UniProt, in per cent, in the order of LETTERS.
SHARES = np.array([9.7, 8.3, 7.1, 6.9, 6.6, 6.7, 5.5, 5.3, 5.9, 5.5, 4.7, 5.8, 3.9, 4.1, 3.9, 2.9, 2.4, 2.3, 1.1, 1.4])
KINDS = ("LIVM", "FWYH", "STNQ", "DE", "KR", "AGC", "P")  # alike in size and charge
MOTIFS = 48
SHORTEST, LONGEST = 30, 8000  # residues of an ancestor
CHUNK = 2_000


@dataclass(frozen=True)
class Stock:
    """The motifs, as indices of LETTERS end to end, how well each place is kept, and which motif follows which.

    letters, kept: (P,). offsets: (MOTIFS + 1,). follows: (MOTIFS, MOTIFS) cumulative chances. alike: (20, 20) the same
    for what a residue becomes when it is not kept.
    """

    letters: np.ndarray
    kept: np.ndarray
    offsets: np.ndarray
    follows: np.ndarray
    alike: np.ndarray


@cache
def stock() -> Stock:
    """What all families are made of; it does not depend on a seed."""
    random = np.random.Generator(np.random.PCG64(20_000))
    shares = SHARES / SHARES.sum()
    offsets = np.concatenate([[0], np.cumsum(random.integers(10, 25, MOTIFS))])
    follows = np.full((MOTIFS, MOTIFS), 0.2 / MOTIFS)
    for row in follows:
        row[random.permutation(MOTIFS)[:3]] += 0.8 * np.array([0.5, 0.3, 0.2])
    kind = np.array([next(i for i, kind in enumerate(KINDS) if chr(letter) in kind) for letter in LETTERS])
    alike = np.where(kind[:, None] == kind[None, :], shares, 0.0)
    alike = 0.7 * alike / alike.sum(1, keepdims=True) + 0.3 * shares
    return Stock(
        random.choice(20, offsets[-1], p=shares),
        random.choice([0.6, 0.9, 0.98], offsets[-1], p=[0.3, 0.4, 0.3]),
        offsets,
        np.cumsum(follows, axis=1),
        np.cumsum(alike, axis=1),
    )


def substituted(letters: np.ndarray, change: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy in which the places of the mask `change` became something like them."""
    out = letters.copy()
    rows = stock().alike[letters[change]]
    out[change] = np.minimum((rows < random.random((len(rows), 1)) * rows[:, -1:]).sum(1), 19)
    return out


def ancestor(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The founder of a family: indices of LETTERS, and whether each stands in a linker."""
    common = stock()
    wanted = int(np.clip(random.lognormal(np.log(280), 0.75), SHORTEST, LONGEST))
    shares = random.dirichlet(20 * SHARES / SHARES.sum() * 5)
    parts: list[np.ndarray] = []
    linker: list[np.ndarray] = []
    motif, length = int(random.integers(MOTIFS)), 0
    while length < wanted:
        gap = int(random.geometric(0.25)) - 1
        part = slice(common.offsets[motif], common.offsets[motif + 1])
        body = substituted(common.letters[part], random.random(part.stop - part.start) > common.kept[part], random)
        parts += [random.choice(20, gap, p=shares), body]
        linker += [np.ones(gap, bool), np.zeros(len(body), bool)]
        length += gap + len(body)
        motif = min(int(np.searchsorted(common.follows[motif], random.random())), MOTIFS - 1)
    return np.concatenate(parts)[:wanted], np.concatenate(linker)[:wanted]


def member(founder: np.ndarray, linker: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A descendant, as letters: substituted, with other linkers, some cut at the ends."""
    rate = random.uniform(0.05, 0.4)
    out = substituted(founder, random.random(len(founder)) < rate, random)
    copies = np.where(linker, random.choice([0, 1, 2], len(out), p=[0.1, 0.8, 0.1]), 1)
    out = LETTERS[np.repeat(out, copies)]
    if random.random() < 0.2:
        cut = random.integers(0, len(out) // 5 + 1, 2)
        out = out[cut[0] : max(len(out) - cut[1], cut[0] + 1)]
    elif len(out):
        out[0] = ord("M")
    return out


@dataclass(frozen=True)
class SimulatedProteins:
    """The simulated source: made-up proteins in families, the same for the same numbers.

    Those of a smaller number are the first of a larger one. The families are given as clusters; three in five have one
    member, some have a hundred.
    """

    proteins: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.proteins < 1:
            raise ValueError(f"proteins={self.proteins} must be 1 or more")

    def fingerprint(self) -> str:
        """Changes when the proteins would."""
        return f"simulated-proteins/{RULE}/{self.proteins}/{self.seed}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[ProteinTable]:
        """Tables of at most 2,000 proteins. columns: `family` is all there is."""
        if unknown := [name for name in columns if name != "family"]:
            raise ConfigError(f"the simulated source has no column {', '.join(unknown)}, only family")
        ids: list[str] = []
        families: list[str] = []
        sequences: list[np.ndarray] = []
        for count, (name, family, sequence) in enumerate(self._proteins(), 1):
            ids.append(name)
            families.append(family)
            sequences.append(sequence)
            if len(ids) == CHUNK or count == self.proteins:
                yield ProteinTable(ids, Ragged.pack(sequences), families, {name: families for name in columns})
                ids, families, sequences = [], [], []

    def _proteins(self) -> Iterator[tuple[str, str, np.ndarray]]:
        left, number = self.proteins, 0
        while left:
            random = np.random.Generator(np.random.PCG64([self.seed, number]))
            size = min(int(random.zipf(1.9)), 100)
            founder, linker = ancestor(random)
            family = f"F{number:06d}"
            for index in range(min(size, left)):
                yield f"sim-{self.seed}-{number}-{index}", family, member(founder, linker, random)
            left -= min(size, left)
            number += 1
