"""Trivial baselines of masked modelling: what they learn, and that they never see masked tokens."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.baselines.protein_baselines import TRIVIAL_BASELINES, Composition, Neighbours, Unigram
from trimer.data.core.batches import MaskedBatch
from trimer.tokenizers.protein import MASK


def batch(texts: list[list[int]], positions: list[int], shown: int = MASK) -> MaskedBatch:
    """Sequences of residue ids between `<cls>` and `<eos>`; positions count through all tokens."""
    tokens = np.concatenate([[0, *text, 2] for text in texts])
    damaged, positions = tokens.copy(), np.array(positions)
    damaged[positions] = shown
    return MaskedBatch.pack(
        damaged, np.array([len(t) + 2 for t in texts]), positions, tokens[positions], np.arange(len(texts))
    )


def random(count: int, seed: int = 0, shown: int = MASK) -> MaskedBatch:
    rng = np.random.default_rng(seed)
    texts = [rng.choice([5, 6, 7], size=40, p=rng.dirichlet([1, 1, 1])).tolist() for _ in range(count)]
    return batch(texts, sorted(rng.permutation(np.arange(count)) * 42 + 7), shown)


def test_residue_frequencies_are_counted_with_pseudocounts():
    baseline = Unigram().fit([batch([[5] * 60 + [6] * 38], [1])])
    probabilities = np.exp(baseline.log_probabilities(batch([[5, 6, 9]], [1, 2, 3])))
    assert probabilities[0] == pytest.approx(61 / (98 + 28))  # a pseudocount of one for each of the 28 letters
    assert probabilities[2] == pytest.approx(1 / (98 + 28))


def test_neighbours_predict_the_residue_between_them():
    text = [5, 6, 7] * 200
    baseline = Neighbours().fit([batch([text], [50])] * 10)
    known = np.exp(baseline.log_probabilities(batch([[5, 6, 7, 5]], [2])))
    assert known > 0.95
    hidden = np.exp(baseline.log_probabilities(batch([[5, 6, 7, 5]], [2, 3])))  # one neighbour of each is masked too
    assert hidden.min() > 0.9


def test_composition_is_that_of_the_same_sequence():
    train = random(200)
    baseline = Composition().fit([train])
    masked = baseline.log_probabilities(batch([[5] * 30, [6] * 30], [3, 35]))
    assert np.exp(masked).min() > 0.8
    assert baseline.log_probabilities(train).mean() > Unigram().fit([train]).log_probabilities(train).mean() + 0.1


@pytest.mark.parametrize("kind", TRIVIAL_BASELINES.values(), ids=TRIVIAL_BASELINES)
def test_masked_residues_are_not_seen(kind):
    """The probabilities of all residues sum to one, so no residue is revealed by its own position."""
    baseline = kind().fit([random(50), random(50, shown=5)])
    texts = [[5, 6, 7, 5, 5, 6], [7, 7, 6]]
    for shown in (MASK, 9):  # masked, or replaced by another residue
        total = 0.0
        for residue in range(4, 32):
            asked = [[*texts[0][:2], residue, *texts[0][3:]], texts[1]]
            total += np.exp(baseline.log_probabilities(batch(asked, [3], shown)))[0]
        assert total == pytest.approx(1, abs=0.01)


def test_visible_residues_are_weighted_by_how_often_they_are_true():
    rng = np.random.default_rng(0)
    tokens = np.r_[0, rng.integers(4, 24, 4000), 2]
    positions = np.arange(1, 4001, 4)
    damaged = tokens.copy()
    lie = positions[rng.random(1000) < 0.4]
    damaged[lie] = 4 + (tokens[lie] - 4 + rng.integers(1, 20, len(lie))) % 20
    train = MaskedBatch.pack(damaged, np.array([4002]), positions, tokens[positions], np.array([0]))
    baseline = Unigram().fit([train])
    assert baseline.belief == pytest.approx(0.6, abs=0.06)
    hidden = batch([[5, 6, 7]], [2])
    assert baseline.log_probabilities(hidden) == baseline.guess(hidden)
    kept, replaced = batch([[5, 6, 7]], [2], 6), batch([[5, 6, 7]], [2], 9)
    assert np.exp(baseline.log_probabilities(kept)) > 0.5
    assert baseline.log_probabilities(replaced) < baseline.guess(replaced)
