"""Which tokens are hidden: the shares, what stands in their place, and that a sequence is masked alike everywhere."""

import numpy as np
import pytest

from trimer.data.core.draws import keys
from trimer.data.core.masking import Masking
from trimer.tokenizers.protein import ALPHABET, CLS, EOS, MASK, PAD, RESIDUES, UNK, ProteinTokenizer


class ProteinMasking(Masking):
    """Masks of proteins, by default in the shares of BERT."""

    def __init__(self, ratio: float = 0.15, mask: float = 0.8, replace: float = 0.1, **schedule):
        super().__init__(ratio, mask, replace, **schedule)

    def __call__(self, tokens, lengths, drawn, step: int = 0):
        return super().__call__(tokens, lengths, drawn, ALPHABET, step)


def sequences(count: int = 400, seed: int = 0, letters: np.ndarray = RESIDUES) -> tuple[np.ndarray, np.ndarray]:
    """Tokens `<cls> ... <eos>` of random proteins end to end, and their lengths."""
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 900, count)
    tokens = letters[random.integers(0, len(letters), lengths.sum())].astype(np.uint8)
    ends = np.cumsum(lengths)
    tokens[ends - lengths], tokens[ends - 1] = CLS, EOS
    return tokens, lengths


def assert_share(hits: int, of: int, share: float) -> None:
    """Within five standard deviations of the binomial distribution."""
    assert abs(hits - of * share) <= 5 * np.sqrt(of * share * (1 - share)) + 1e-9, (hits, of, share)


@pytest.mark.parametrize(
    ("ratio", "mask", "replace"), [(0.15, 0.8, 0.1), (0.25, 1.0, 0.0), (0.4, 0.0, 0.5), (1.0, 0.5, 0.5)]
)
def test_the_shares(ratio, mask, replace):
    tokens, lengths = sequences()
    damaged, places = ProteinMasking(ratio, mask, replace)(tokens, lengths, keys(0, 0, np.arange(len(lengths))))
    residues = len(tokens) - 2 * len(lengths)
    assert_share(len(places), residues, ratio)
    assert_share((damaged[places] == MASK).sum(), len(places), mask)
    other = (damaged[places] != MASK) & (damaged[places] != tokens[places])
    assert_share(other.sum(), len(places), replace * 19 / 20)  # one in twenty replacements is the true one
    untouched = np.ones(len(tokens), bool)
    untouched[places] = False
    assert (damaged[untouched] == tokens[untouched]).all()
    assert damaged.dtype == tokens.dtype and (np.diff(places) > 0).all()


def test_replacements_are_exactly_the_twenty_amino_acids_alike_often():
    tokens, lengths = sequences(letters=np.array([24]))  # X only, which is none of them
    damaged, places = ProteinMasking(0.5, 0.0, 1.0)(tokens, lengths, keys(0, 0, np.arange(len(lengths))))
    found, counts = np.unique(damaged[places], return_counts=True)
    assert found.tolist() == RESIDUES.tolist()
    for count in counts:
        assert_share(count, len(places), 1 / 20)


def test_places_are_alike_likely_along_a_sequence():
    tokens = np.tile(ProteinTokenizer().encode("MKLVAGSTPE"), 4000)
    _, places = ProteinMasking()(tokens, np.full(4000, 12), keys(0, 0, np.arange(4000)))
    counts = np.bincount(places % 12, minlength=12)
    assert counts[0] == counts[11] == 0
    for count in counts[1:11]:
        assert_share(count, 4000, 0.15)


def test_specials_and_unknown_letters_are_never_chosen():
    tokens = np.array([CLS, PAD, EOS, UNK, MASK, 31] * 500, np.uint8)
    damaged, places = ProteinMasking(1.0)(tokens, np.array([3000]), keys(0, 0, np.array([0])))
    assert len(places) == 0 and (damaged == tokens).all()
    letters = np.arange(4, 31, dtype=np.uint8)
    assert len(ProteinMasking(1.0)(letters, np.array([27]), keys(0, 0, np.array([0])))[1]) == 27


def test_a_sequence_is_masked_alike_alone_and_in_any_batch():
    tokens, lengths = sequences(40)
    starts = np.cumsum(lengths) - lengths
    rows = np.arange(100, 140)
    masking = ProteinMasking()
    together, places = masking(tokens, lengths, keys(3, 5, rows))
    order = np.random.default_rng(1).permutation(40)
    shuffled = np.concatenate([tokens[starts[i] : starts[i] + lengths[i]] for i in order])
    again, _ = masking(shuffled, lengths[order], keys(3, 5, rows[order]))
    pieces = np.split(again, np.cumsum(lengths[order])[:-1])
    for i, piece in zip(order, pieces, strict=True):
        own = slice(starts[i], starts[i] + lengths[i])
        assert piece.tolist() == together[own].tolist()
        alone, found = masking(tokens[own], lengths[i : i + 1], keys(3, 5, rows[i : i + 1]))
        assert alone.tolist() == piece.tolist()
        inside = places[(places >= own.start) & (places < own.stop)]
        assert found.tolist() == (inside - own.start).tolist()


def test_masks_are_new_in_every_epoch_and_for_every_seed_and_row():
    tokens, lengths = sequences(1, seed=4)
    masks = [
        ProteinMasking()(tokens, lengths, keys(*words))[1].tolist()
        for words in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1))
    ]
    assert len({tuple(mask) for mask in masks}) == 4
    seen = set()
    for epoch in range(60):
        seen |= set(ProteinMasking()(tokens, lengths, keys(0, epoch, 0))[1].tolist())
    assert len(seen) > 0.99 * (lengths[0] - 2), "in the long run every residue is asked for"


def test_short_sequences_may_have_none_and_an_empty_batch_is_no_fault():
    tokens = np.tile(np.array([CLS, 5, EOS], np.uint8), 2000)
    _, places = ProteinMasking()(tokens, np.full(2000, 3), keys(0, 0, np.arange(2000)))
    assert_share(len(places), 2000, 0.15)
    row = next(row for row in range(2000) if 3 * row + 1 not in places)
    alone, none = ProteinMasking()(tokens[:3], np.array([3]), keys(0, 0, np.array([row])))
    assert len(none) == 0 and none.dtype == np.int64 and (alone == tokens[:3]).all()
    nothing = np.zeros(0, np.uint8), np.zeros(0, np.int64), keys(0, 0, np.zeros(0, int))
    assert [len(part) for part in ProteinMasking()(*nothing)] == [0, 0]


def test_the_ratio_moves_evenly_and_stays():
    masking = ProteinMasking(0.3, end_ratio=0.1, total_steps=100)
    assert [masking.ratio_at(step) for step in (0, 50, 100, 1000)] == pytest.approx([0.3, 0.2, 0.1, 0.1])
    tokens, lengths = sequences()
    drawn = keys(0, 0, np.arange(len(lengths)))
    for step, ratio in ((0, 0.3), (100, 0.1)):
        assert_share(len(masking(tokens, lengths, drawn, step)[1]), len(tokens) - 2 * len(lengths), ratio)
    assert ProteinMasking(0.3).ratio_at(10**9) == 0.3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ratio": 0.0}, r"ratio=0\.0 must be above 0 and at most 1"),
        ({"ratio": 1.5}, r"ratio=1\.5 must be"),
        ({"mask": 0.8, "replace": 0.3}, r"sum to at most 1"),
        ({"replace": -0.1}, r"must be 0 or more"),
        ({"end_ratio": 0.1}, r"end_ratio=0\.1 needs total_steps"),
        ({"end_ratio": 2, "total_steps": 5}, r"end_ratio=2 must be"),
    ],
)
def test_settings_that_cannot_be_used(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        ProteinMasking(**settings)
