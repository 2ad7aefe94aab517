"""Simulated proteins: reproducible, with realistic lengths and learnable patterns."""

from itertools import islice, pairwise

import numpy as np
import pytest

from trimer.errors import ConfigError
from trimer.simulate.simulated_proteins import LETTERS, SimulatedProteins


@pytest.fixture(scope="module")
def proteins() -> dict[str, tuple[str, np.ndarray]]:
    """id -> (family, sequence) of 1,500 proteins."""
    tables = SimulatedProteins(1500, seed=1).chunks()
    return {name: (table.clusters[row], table.sequences[row]) for table in tables for row, name in enumerate(table.ids)}


def text(source) -> list[bytes]:
    return [table.sequences[row].tobytes() for table in source.chunks() for row in range(len(table))]


def test_the_same_seed_gives_the_same_records_and_a_smaller_count_a_prefix():
    assert text(SimulatedProteins(60, seed=1)) == text(SimulatedProteins(150, seed=1))[:60]
    assert text(SimulatedProteins(60, seed=1)) != text(SimulatedProteins(60, seed=2))
    prints = {SimulatedProteins(n, seed).fingerprint() for n, seed in ((60, 1), (61, 1), (60, 2))}
    assert len(prints) == 3


def test_the_table_has_the_requested_size_and_columns():
    tables = list(SimulatedProteins(4100).chunks(["family"]))
    assert [len(table) for table in tables] == [2000, 2000, 100]
    assert tables[0].columns["family"] == tables[0].clusters
    ids = [name for table in tables for name in table.ids]
    assert len(set(ids)) == 4100
    with pytest.raises(ConfigError, match="no column fold, only family"):
        next(SimulatedProteins(10).chunks(["fold"]))
    with pytest.raises(ValueError, match="proteins=0 must be 1 or more"):
        SimulatedProteins(0)


def test_lengths_follow_uniref(proteins):
    lengths = np.array([len(letters) for _, letters in proteins.values()])
    logarithms = np.log(lengths)
    assert 220 < np.median(lengths) < 360
    assert 0.55 < logarithms.std() < 0.9
    assert lengths.min() >= 15
    assert set(np.unique(np.concatenate([letters for _, letters in proteins.values()]))) == set(LETTERS.tolist())


def kmers(letters: np.ndarray, k: int = 6) -> set[bytes]:
    line = letters.tobytes()
    return {line[i : i + k] for i in range(len(line) - k + 1)}


def test_only_members_of_a_family_are_related(proteins):
    families: dict[str, list[np.ndarray]] = {}
    for family, letters in proteins.values():
        families.setdefault(family, []).append(letters)
    sizes = np.array([len(members) for members in families.values()])
    assert (sizes == 1).mean() > 0.4 and sizes.max() > 20
    several = [members for members in families.values() if len(members) > 1]
    within = np.mean([len(kmers(a) & kmers(b)) / len(kmers(a)) for a, b, *_ in islice(several, 100)])
    heads = [members[0] for members in islice(families.values(), 100)]
    between = np.mean([len(kmers(a) & kmers(b)) / len(kmers(a)) for a, b in pairwise(heads)])
    assert within > 0.1 > 5 * between


def test_neighbours_predict_residues_in_unseen_families(proteins):
    """Counts of (left, right) -> residue on some families predict others far better than the composition."""
    index = np.zeros(128, np.int64)
    index[LETTERS] = np.arange(20)
    names = sorted({family for family, _ in proteins.values()})
    seen = set(names[: int(0.8 * len(names))])
    counts = np.full((20, 20, 20), 0.3)
    for family, letters in proteins.values():
        if family in seen:
            s = index[letters]
            np.add.at(counts, (s[:-2], s[2:], s[1:-1]), 1)
    chances = counts / counts.sum(2, keepdims=True)
    frequencies = counts.sum((0, 1)) / counts.sum()
    near, alone = [], []
    for family, letters in proteins.values():
        if family not in seen:
            s = index[letters]
            near.append(-np.log(chances[s[:-2], s[2:], s[1:-1]]))
            alone.append(-np.log(frequencies[s[1:-1]]))
    assert np.exp(np.concatenate(alone).mean()) > 17
    assert np.exp(np.concatenate(near).mean()) < 14.5
