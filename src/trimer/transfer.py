"""Batches that move to a device: all tensors of a batch in one copy, which the host need not wait for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes: kernels read so many at once


@dataclass
class Movable:
    """Base of dataclasses whose fields are tensors, other `Movable`s, or values that stay on the host."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same on a device."""
        return self._with(iter(moved(list(self._tensors()), torch.device(device), non_blocking)))

    def pin_memory(self) -> Self:
        """The same in one block of page-locked memory, from which it is copied to a GPU at once."""
        return self.in_one_block(pinned=True)

    def in_one_block(self, pinned: bool = False) -> Self:
        """The same with all tensors in one block of host memory."""
        return self._with(iter(in_one_block(list(self._tensors()), pinned)))

    def _tensors(self) -> Iterator[Tensor]:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, Movable):
                yield from value._tensors()
            elif isinstance(value, Tensor):
                yield value

    def _with(self, tensors: Iterator[Tensor]) -> Self:
        """The same with other tensors, in the order of `_tensors`."""
        changes: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, Movable):
                changes[part.name] = value._with(tensors)
            elif isinstance(value, Tensor):
                changes[part.name] = next(tensors)
        return replace(self, **changes)


def in_one_block(tensors: Sequence[Tensor], pinned: bool = False) -> list[Tensor]:
    """Copies of tensors on the host that share one block of memory, page-locked if `pinned`."""
    room = [-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors]
    starts = list(accumulate(room, initial=0))
    block = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=pinned)
    copies = []
    for tensor, start in zip(tensors, starts, strict=False):
        part = block[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        copies.append(part.copy_(tensor))
    return copies


def moved(tensors: Sequence[Tensor], device: torch.device, non_blocking: bool = False) -> list[Tensor]:
    """The tensors on a device; one copy for all that `in_one_block` has put together."""
    if not _are_one_block(tensors) or tensors[0].device == device:
        return [tensor.to(device, non_blocking=non_blocking) for tensor in tensors]
    block = torch.empty(0, dtype=torch.uint8).set_(tensors[0].untyped_storage())
    block = block.to(device, non_blocking=non_blocking)
    arrived = []
    for tensor in tensors:
        start = tensor.storage_offset() * tensor.element_size()
        arrived.append(block[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape))
    return arrived


def _are_one_block(tensors: Sequence[Tensor]) -> bool:
    """Whether the tensors fill one block of host memory."""
    if len(tensors) < 2 or any(tensor.device.type != "cpu" or not tensor.is_contiguous() for tensor in tensors):
        return False
    storages = [tensor.untyped_storage() for tensor in tensors]
    size = sum(-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors)
    return len({storage.data_ptr() for storage in storages}) == 1 and size == storages[0].nbytes()
