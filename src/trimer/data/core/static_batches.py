"""Static batches: flat batches padded to one fixed shape, for devices that compile a program for each shape.

Tokens are padded to R rows of L, sequences to the slots of the shape, and masked positions to a number that is not
exceeded in practice. Padding has no label and adds nothing to a loss.

Shapes: T tokens (R L), B slots for sequences, M masked positions, K channels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trimer.data.core.batches import MISSING, FragmentBatch, LabelledBatch, MaskedBatch, PairBatch
from trimer.data.core.packing import assign_rows
from trimer.data.core.sampler import BatchKey
from trimer.data.core.static_plan import Shape
from trimer.errors import InputError
from trimer.flat import Flat, FlatPeptides, StaticFlat, StaticPeptides, flat_bonds, flat_inner


class StaticBatches(Dataset):
    """Dataset of static batches, indexed by the BatchKeys of a `StaticPlan`, all of its shape.

    The wrapped dataset may have the attributes by_residue (labels belong to residues) and masked_share (largest
    fraction of tokens that is masked).
    """

    def __init__(self, dataset: Dataset, shape: Shape):
        self.dataset, self.shape = dataset, shape
        self.by_residue = getattr(dataset, "by_residue", False)
        self.masked = masked_positions(shape.tokens, getattr(dataset, "masked_share", 0.0))

    def __getitem__(self, key: BatchKey) -> PairBatch | MaskedBatch | LabelledBatch:
        if key.row_of is None:
            raise TypeError("static batches need the keys of a StaticPlan")
        return static(self.dataset[key], self, key.row_of)


def masked_positions(tokens: int, share: float) -> int:
    """M for a batch of T tokens, each masked with this probability: the mean plus 8 standard deviations."""
    spread = 8 * math.sqrt(tokens * share * (1 - share))
    return min(tokens, math.ceil((tokens * share + spread) / 8) * 8)


@singledispatch
def static(batch, to: StaticBatches, planned: np.ndarray):
    """The batch padded to the shape of `to`. planned: (n,) row of each sequence. InputError if it does not fit."""
    raise TypeError(f"{type(batch).__name__} has no static form")


@static.register
def _(batch: PairBatch, to: StaticBatches, planned: np.ndarray) -> PairBatch:
    source, target = _sides((batch.source, batch.target), to.shape, planned)
    labels = _filled(batch.labels, target.order, len(target.tokens), MISSING)
    return PairBatch(source, target, labels, batch.rows)


@static.register
def _(batch: MaskedBatch, to: StaticBatches, planned: np.ndarray) -> MaskedBatch:
    (sequence,) = _sides((batch.sequence,), to.shape, planned)
    count = len(batch.positions)
    if count > to.masked:
        raise InputError(
            f"a batch has {count:,} masked tokens, more than the {to.masked:,} that fit: use another seed, or "
            "trainer=cpu or trainer=gpu"
        )
    positions = torch.full((to.masked,), len(sequence.tokens) - 1)
    positions[:count] = torch.from_numpy(sequence.order)[batch.positions]
    labels = _filled(batch.labels, slice(count), to.masked, MISSING)
    return MaskedBatch(sequence, positions, labels, batch.rows, masked=count)


@static.register
def _(batch: LabelledBatch, to: StaticBatches, planned: np.ndarray) -> LabelledBatch:
    (sequence,) = _sides((batch.sequence,), to.shape, planned)
    missing = math.nan if batch.labels.is_floating_point() else MISSING
    if to.by_residue:
        labels = _filled(batch.labels, sequence.order[flat_inner(sequence.sizes)], len(sequence.tokens), missing)
    else:
        labels = _filled(batch.labels, slice(len(batch)), to.shape.slots, missing)
    return replace(batch, sequence=sequence, labels=labels)


@static.register
def _(batch: FragmentBatch, to: StaticBatches, planned: np.ndarray) -> FragmentBatch:
    (sequence,) = _sides((batch.sequence,), to.shape, planned)
    assert isinstance(sequence, StaticPeptides)  # as batch.sequence is FlatPeptides
    bonds = sequence.order[flat_bonds(sequence.sizes)]
    return replace(batch, sequence=sequence, labels=_filled(batch.labels, bonds, len(sequence.tokens), -1.0))


def _sides(sides: tuple[Flat, ...], shape: Shape, planned: np.ndarray) -> list[StaticFlat | StaticPeptides]:
    """Source and target in their rows; a sequence has the same row in both."""
    capacity = np.array(shape.lengths)
    row_of = assign_rows(np.array([side.sizes for side in sides]).T, capacity, shape.rows, planned)
    if row_of is None:
        raise InputError(
            f"the sequences of a batch grew too long for its {shape.rows} rows when they were loaded: set "
            f"trainer.row_length above {shape.lengths[0]:,}"
        )
    lengths = zip(sides, shape.lengths, strict=True)
    return [in_rows(side, shape.rows, length, shape.slots, row_of) for side, length in lengths]


def in_rows(flat: Flat, rows: int, length: int, slots: int, row_of: np.ndarray) -> StaticFlat | StaticPeptides:
    """A flat batch padded to R rows of `length` tokens, with B slots; row_of: (n,) row of each sequence."""
    sizes, count, tokens = np.array(flat.sizes), len(flat), rows * length
    by_row = np.argsort(row_of, kind="stable")
    before = np.cumsum(sizes[by_row]) - sizes[by_row]
    of_row = np.bincount(row_of, weights=sizes, minlength=rows).astype(np.int64)
    starts = np.empty(count, np.int64)
    starts[by_row] = row_of[by_row] * length + before - (np.cumsum(of_row) - of_row)[row_of[by_row]]
    order = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    numbers = torch.from_numpy(np.repeat(np.arange(count), sizes))
    fields: dict[str, Any] = {
        "tokens": _filled(flat.tokens, order, tokens, 0),
        "lengths": _filled(flat.lengths, slice(count), slots, 1),
        "sizes": flat.sizes,
        "rows": rows,
        "segments": _filled(numbers, order, tokens, slots - 1),
        "offsets_in": _filled(flat.positions(), order, tokens, 0),
        "first": _filled(torch.from_numpy(starts), slice(count), slots, tokens - 1),
        "last": _filled(torch.from_numpy(starts + sizes - 1), slice(count), slots, tokens - 1),
        "order": order,
        "bounds": torch.from_numpy(_bounds(sizes, row_of, rows, length, slots)),
        "features": None if flat.features is None else _filled(flat.features, slice(count), slots, 0.0),
    }
    if not isinstance(flat, FlatPeptides):
        return StaticFlat(**fields)
    conditions = None if flat.conditions is None else _filled(flat.conditions, slice(count), slots, 0.0)
    composition = _filled(flat.composition, order[flat.places.numpy()], tokens, 0.0)
    return StaticPeptides(**fields, places=torch.arange(tokens), composition=composition, conditions=conditions)


def _bounds(sizes: np.ndarray, row_of: np.ndarray, rows: int, length: int, slots: int) -> np.ndarray:
    """`Static.bounds`: in each row its sequences, then the padding, which may be empty."""
    padding = length - np.bincount(row_of, weights=sizes, minlength=rows).astype(np.int64)
    in_order = np.argsort(np.concatenate([row_of, np.arange(rows)]), kind="stable")
    ends = np.cumsum(np.concatenate([sizes, padding])[in_order])
    bounds = np.full(slots + rows + 1, rows * length, np.int32)
    bounds[0], bounds[1 : len(ends) + 1] = 0, ends
    return bounds


def _filled(values: Tensor, where: np.ndarray | slice, size: int, filling: float) -> Tensor:
    """(size, ...) tensor with the values at `where` and the filling elsewhere."""
    out = torch.full((size, *values.shape[1:]), filling, dtype=values.dtype)
    out[where if isinstance(where, slice) else torch.from_numpy(where)] = values
    return out
