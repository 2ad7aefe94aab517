"""Flat batches turned into batches of one shape, for devices that compile a program for each shape.

Whatever has no fixed number is filled up: tokens to R rows of L, sequences to the slots of the shape, masked positions
to a number that is not exceeded in practice. What is filled up has no label and adds nothing to a loss.

Shapes: T tokens (R L), B slots for sequences, M masked positions, K channels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trimer.data.core.batches import MISSING, FragmentBatch, LabelledBatch, MaskedBatch, PairBatch
from trimer.data.core.packing import placed
from trimer.data.core.sampler import BatchKey
from trimer.data.core.static_plan import Shape
from trimer.errors import InputError
from trimer.flat import Flat, FlatPeptides, Static, StaticFlat, StaticPeptides, flat_bonds, flat_inner


class StaticBatches(Dataset):
    """The batches of a dataset, by BatchKeys of a `StaticPlan`, in its shape.

    by_residue, masked_share: of the dataset: whether labels are those of residues, and the largest share of tokens
    that is masked.
    """

    def __init__(self, dataset: Dataset, shape: Shape):
        self.dataset, self.shape = dataset, shape
        self.by_residue = getattr(dataset, "by_residue", False)
        self.asked = masked_positions(shape.tokens, getattr(dataset, "masked_share", 0.0))

    def __getitem__(self, key: BatchKey) -> PairBatch | MaskedBatch | LabelledBatch:
        return static(self.dataset[key], self, key.places)


def masked_positions(tokens: int, share: float) -> int:
    """M for a batch of T tokens, each of which is masked with this probability: the mean and 8 standard deviations."""
    spread = 8 * math.sqrt(tokens * share * (1 - share))
    return min(tokens, math.ceil((tokens * share + spread) / 8) * 8)


@singledispatch
def static(batch, to: StaticBatches, planned: np.ndarray):
    """The batch in the shape of `to`. planned: (n,) row of each sequence. InputError if it does not fit."""
    raise TypeError(f"{type(batch).__name__} has no static form")


@static.register
def _(batch: PairBatch, to: StaticBatches, planned: np.ndarray) -> PairBatch:
    source, target = _sides((batch.source, batch.target), to.shape, planned)
    labels = _filled(batch.labels, target.order, len(target.tokens), MISSING)
    return PairBatch(source, target, labels, batch.rows)


@static.register
def _(batch: MaskedBatch, to: StaticBatches, planned: np.ndarray) -> MaskedBatch:
    (sequence,) = _sides((batch.sequence,), to.shape, planned)
    count = len(batch.places)
    if count > to.asked:
        raise InputError(
            f"{count:,} tokens of a batch are masked, and there is room for {to.asked:,}: use another seed, or "
            "trainer=cpu or trainer=gpu"
        )
    places = torch.full((to.asked,), len(sequence.tokens) - 1)
    places[:count] = torch.from_numpy(sequence.order)[batch.places]
    labels = _filled(batch.labels, slice(count), to.asked, MISSING)
    return MaskedBatch(sequence, places, labels, batch.rows, asked=count)


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
    bonds = sequence.order[flat_bonds(sequence.sizes)]
    return replace(batch, sequence=sequence, labels=_filled(batch.labels, bonds, len(sequence.tokens), -1.0))


def _sides(sides: tuple[Flat, ...], shape: Shape, planned: np.ndarray) -> list[Static]:
    """Each side in its rows; a sequence has the same row on all sides."""
    capacity = np.array(shape.lengths)
    row_of = placed(np.array([side.sizes for side in sides]).T, capacity, shape.rows, planned)
    if row_of is None:
        raise InputError(
            f"sequences have become too long for the {shape.rows} rows of a batch when they were loaded: set "
            f"trainer.row_length above {shape.lengths[0]:,}"
        )
    lengths = zip(sides, shape.lengths, strict=True)
    return [in_rows(side, shape.rows, length, shape.slots, row_of) for side, length in lengths]


def in_rows(flat: Flat, rows: int, length: int, slots: int, row_of: np.ndarray) -> Static:
    """A flat batch in R rows of `length` tokens, with B slots; row_of: (n,) row of each sequence, which must fit."""
    sizes, count, tokens = np.array(flat.sizes), len(flat), rows * length
    by_row = np.argsort(row_of, kind="stable")
    before = np.cumsum(sizes[by_row]) - sizes[by_row]
    of_row = np.bincount(row_of, weights=sizes, minlength=rows).astype(np.int64)
    starts = np.empty(count, np.int64)
    starts[by_row] = row_of[by_row] * length + before - (np.cumsum(of_row) - of_row)[row_of[by_row]]
    order = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    numbers = torch.from_numpy(np.repeat(np.arange(count), sizes))
    parts = {
        "tokens": _filled(flat.tokens, order, tokens, 0),
        "lengths": _filled(flat.lengths, slice(count), slots, 1),
        "sizes": flat.sizes,
        "rows": rows,
        "segments": _filled(numbers, order, tokens, slots - 1),
        "offsets_in": _filled(flat.positions(), order, tokens, 0),
        "first": _filled(torch.from_numpy(starts), slice(count), slots, tokens - 1),
        "last": _filled(torch.from_numpy(starts + sizes - 1), slice(count), slots, tokens - 1),
        "order": order,
    }
    if not isinstance(flat, FlatPeptides):
        return StaticFlat(**parts)
    conditions = None if flat.conditions is None else _filled(flat.conditions, slice(count), slots, 0.0)
    composition = _filled(flat.composition, order[flat.places.numpy()], tokens, 0.0)
    return StaticPeptides(**parts, places=torch.arange(tokens), composition=composition, conditions=conditions)


def _filled(values: Tensor, where: np.ndarray | slice, size: int, filling: float) -> Tensor:
    """(size, ...) with the values at `where`, and the filling elsewhere."""
    out = torch.full((size, *values.shape[1:]), filling, dtype=values.dtype)
    out[where if isinstance(where, slice) else torch.from_numpy(where)] = values
    return out
