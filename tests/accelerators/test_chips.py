"""Which tensors of a batch are divided among chips; the training itself is tested in tests/xla/test_chips.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimer.accelerators.chips import tensors_by_token
from trimer.data.core.batches import MaskedBatch, PairBatch
from trimer.data.core.static_batches import in_rows
from trimer.flat import Flat


def static(sizes: tuple[int, ...], length: int):
    flat = Flat.pack([np.arange(size) for size in sizes])
    return in_rows(flat, 2, length, len(sizes) + 2, np.array([0, 1, 1, 0]))


def test_tensors_with_one_entry_per_token_are_divided():
    source, target = static((5, 2, 9, 3), 12), static((4, 4, 2, 3), 10)
    labels = torch.zeros(20)
    divided = tensors_by_token(PairBatch(source, target, labels, np.arange(4)))
    assert sorted(len(tensor) for tensor in divided) == [20] * 4 + [24] * 3
    wanted = [*(part for side in (source, target) for part in (side.tokens, side.segments, side.offsets_in)), labels]
    assert {id(tensor) for tensor in divided} == {id(tensor) for tensor in wanted}
    assert {id(tensor) for tensor in tensors_by_token(source)} == {id(tensor) for tensor in wanted[:3]}


def test_masked_positions_and_sequences_are_whole_on_every_chip():
    sequence = static((5, 2, 9, 3), 12)
    batch = MaskedBatch(sequence, torch.zeros(8, dtype=torch.int64), torch.zeros(8), np.arange(4), masked=3)
    assert [len(tensor) for tensor in tensors_by_token(batch)] == [24, 24, 24]


@pytest.mark.parametrize("batch", [torch.zeros(4), [torch.zeros(4)], Flat.pack([[1, 2]])])
def test_other_batches_are_not_divided(batch):
    assert tensors_by_token(batch) == []
