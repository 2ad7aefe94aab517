import numpy as np
import torch

from trimer.data.core.batches import PairBatch
from trimer.flat import Flat


def test_pack_concatenates_sequences():
    flat = Flat.pack([[5, 6], [7], [8, 9, 10]])
    assert flat.tokens.tolist() == [5, 6, 7, 8, 9, 10]
    assert flat.sizes == (2, 1, 3) and flat.lengths.tolist() == [2, 1, 3]
    assert flat.positions().tolist() == [0, 1, 0, 0, 1, 2]
    assert flat.offsets().tolist() == [0, 2, 3, 6]
    assert [part.tolist() for part in flat.unpack()] == [[5, 6], [7], [8, 9, 10]]
    assert len(flat) == 3


def test_labels_are_the_next_tokens():
    batch = PairBatch.pack([np.array([0, 20, 2], np.uint16)], [np.array([0, 11, 12, 2], np.uint16)], np.array([7]))
    assert batch.target.tokens.tolist() == [0, 11, 12]
    assert batch.labels.tolist() == [11, 12, 2]
    assert batch.rows.tolist() == [7] and batch.real_tokens == 6
    assert batch.to("cpu").labels.dtype == torch.int64
