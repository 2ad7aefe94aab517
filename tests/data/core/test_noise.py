import numpy as np
import pytest

from trimer.data.core.noise import MASK, Corruption, delete_tokens, infill_spans, mask_tokens
from trimer.errors import ConfigError

TOKENS = np.concatenate([[0], np.arange(10, 110), [2]]).astype(np.uint16)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_masking_hides_the_ratio_and_keeps_the_length():
    out = mask_tokens(TOKENS, 0.3, rng())
    assert len(out) == len(TOKENS) and (out == MASK).sum() == 30
    kept = out != MASK
    assert (out[kept] == TOKENS[kept]).all()


def test_deletion_keeps_the_order():
    out = delete_tokens(TOKENS, 0.3, rng())
    assert len(out) == len(TOKENS) - 30
    assert (np.diff(out[1:-1].astype(int)) > 0).all()


def test_infilling_replaces_spans_by_single_masks():
    lengths, masks = [], []
    for seed in range(300):
        out = infill_spans(TOKENS, 0.3, 3.0, rng(seed))
        words = out[(out != MASK)][1:-1].astype(int)
        assert (np.diff(words) > 0).all(), "what is kept stays in order"
        lengths.append(100 - len(words))
        masks.append((out == MASK).sum())
    assert np.mean(lengths) == pytest.approx(30, abs=1.5)  # spans of length 0 take some of the budget
    assert 8 < np.mean(masks) < 13


@pytest.mark.parametrize("noise", [Corruption(1, 0, 0, 0.3), Corruption(0, 1, 0, 0.3), Corruption(0, 0, 1, 0.3)])
@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_short_sequences_keep_their_ends(noise, length):
    tokens = np.concatenate([[0], np.arange(10, 10 + length), [2]]).astype(np.uint16)
    for seed in range(50):
        out = noise(tokens, rng(seed))
        assert out[0] == 0 and out[-1] == 2 and out.dtype == tokens.dtype


def test_shares_choose_the_kind():
    noise = Corruption(masking=0.5, deletion=0.25, infilling=0.0, ratio=0.2)
    kinds = {"masked": 0, "deleted": 0, "whole": 0}
    for seed in range(2000):
        out = noise(TOKENS, rng(seed))
        kinds["masked" if (out == MASK).any() else "deleted" if len(out) < len(TOKENS) else "whole"] += 1
    assert kinds["masked"] == pytest.approx(1000, abs=100)
    assert kinds["deleted"] == pytest.approx(500, abs=80)
    assert kinds["whole"] == pytest.approx(500, abs=80)


def test_noise_is_a_function_of_its_random_numbers():
    noise = Corruption(0.3, 0.3, 0.4, 0.3)
    assert (noise(TOKENS, rng(5)) == noise(TOKENS, rng(5))).all()


def test_impossible_shares_are_refused():
    with pytest.raises(ConfigError, match="sum to at most 1"):
        Corruption(masking=0.8, deletion=0.5, infilling=0.0, ratio=0.3)
    with pytest.raises(ConfigError, match="ratio"):
        Corruption(masking=0.3, deletion=0.3, infilling=0.4, ratio=1.0)
