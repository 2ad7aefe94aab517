"""All tensors of a batch lie in one block of memory, and one copy moves them to a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trimer.data.core.batches import LabelledBatch, MaskedBatch, PairBatch
from trimer.flat import Flat, FlatPeptides
from trimer.transfer import Movable, in_one_block, moved

META, CPU = torch.device("meta"), torch.device("cpu")
TEXTS = [np.r_[0, np.arange(5, 5 + length), 2] for length in (3, 1, 7)]
TOKENS, LENGTHS = np.concatenate(TEXTS), np.array([len(text) for text in TEXTS])
ROWS = np.arange(3)
PEPTIDES = FlatPeptides(
    torch.from_numpy(TOKENS), torch.from_numpy(LENGTHS), tuple(LENGTHS.tolist()),
    places=torch.zeros(0, dtype=torch.int64), composition=torch.zeros(0, 6), conditions=torch.rand(3, 5),
)  # fmt: skip
BATCHES = {
    "pairs": PairBatch.pack(TEXTS, TEXTS[::-1], ROWS),
    "masked": MaskedBatch.pack(TOKENS, LENGTHS, np.array([1]), np.array([9]), ROWS),
    "labels with gaps": LabelledBatch.of(Flat.pack(TEXTS), np.array([[0.5], [np.nan], [2.0]], np.float32), ROWS),
    "peptides without modifications": LabelledBatch.of(PEPTIDES, np.zeros((3, 1), np.float32), ROWS),
}


class Copies(TorchDispatchMode):
    """Counts the copies to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket is torch.ops.aten._to_copy
        return function(*args, **(kwargs or {}))


def tensors(batch: Movable) -> list[torch.Tensor]:
    return list(batch._tensors())


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_batch_in_one_block_is_the_same_and_moves_in_one_copy(batch):
    block = batch.in_one_block()
    assert type(block) is type(batch) and len(block) == len(batch) and block.real_tokens == batch.real_tokens
    for before, after in zip(tensors(batch), tensors(block), strict=True):
        assert after.dtype == before.dtype and torch.equal(after.nan_to_num(7), before.nan_to_num(7))
        assert after.data_ptr() % 16 == 0 or not after.numel()
    with Copies() as copies:
        there = block.to(META)
    assert copies.count == 1
    assert [(t.shape, t.dtype, t.device) for t in tensors(there)] == [(t.shape, t.dtype, META) for t in tensors(batch)]
    with Copies() as copies:
        batch.to(META)
    assert copies.count == len(tensors(batch))


def test_values_and_places_in_the_block_survive_the_move(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, non_blocking=False: tensor.clone())
    values = [torch.tensor(3), torch.rand(2, 3), torch.zeros(0, 4), torch.arange(5)]
    block = in_one_block(values)
    copies = moved(block, META)
    assert all(torch.equal(copy, value) for copy, value in zip(copies, values, strict=True))
    assert len({copy.untyped_storage().data_ptr() for copy in copies}) == 1
    assert copies[1].untyped_storage().data_ptr() != block[1].untyped_storage().data_ptr()


def test_views_of_another_memory_are_copied_one_by_one():
    whole = torch.arange(1000)
    with Copies() as copies:
        parts = moved([whole[:3], whole[10:20:2]], META)
    assert copies.count == 2 and [part.shape for part in parts] == [(3,), (5,)]
    assert all(part is value for part, value in zip(moved([whole], CPU), [whole], strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_pinned_batch_arrives_on_a_gpu(batch):
    there = batch.pin_memory().to("cuda", non_blocking=True)
    for before, after in zip(tensors(batch), tensors(there), strict=True):
        assert after.is_cuda and torch.equal(after.cpu().nan_to_num(7), before.nan_to_num(7))
